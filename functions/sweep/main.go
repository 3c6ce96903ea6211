// Command sweep is the function of this name: it closes recordings whose agents aren't heard of any more, tells what the ledger
// lacks of agents' events and what signed without a function's asking, holds the ledger against the lake and sends again what the lake
// lacks, writes an event each hour to see whether each column of it arrives there, and states hour by hour what the evidence proves.
// It sees which objects a recording has and reads none of them.
package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"log"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	sdk "github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/stile-dev/stile/pkg/app"
	"github.com/stile-dev/stile/pkg/archive"
	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/bucket"
	"github.com/stile-dev/stile/pkg/checked"
	"github.com/stile-dev/stile/pkg/checked/book"
	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/document/head"
	"github.com/stile-dev/stile/pkg/invoke"
	"github.com/stile-dev/stile/pkg/ledger"
	"github.com/stile-dev/stile/pkg/ledger/canary"
	"github.com/stile-dev/stile/pkg/ledger/compare"
	"github.com/stile-dev/stile/pkg/ledger/gap"
	"github.com/stile-dev/stile/pkg/ledger/reader"
	"github.com/stile-dev/stile/pkg/metric"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/query/holding"
	"github.com/stile-dev/stile/pkg/recorded"
	"github.com/stile-dev/stile/pkg/relay"
	"github.com/stile-dev/stile/pkg/tally"
)

func main() {
	handle, err := assemble(context.Background())
	if err != nil {
		log.Fatalf("Starting sweep: %v", err)
	}
	lambda.Start(handle)
}

func assemble(ctx context.Context) (func(context.Context, json.RawMessage) error, error) {
	f, err := app.Begin(ctx, "sweep")
	if err != nil {
		return nil, err
	}
	db, state, table := dynamodb.NewFromConfig(f.AWS), f.Need(names.EnvTableState), f.Need(names.EnvTableLedger)
	books := ledger.New(ledger.Config{DynamoDB: db, Table: table})
	records := recorded.New(db, state)
	s := archive.NewSweeper(archive.SweeperConfig{
		Leases:  records,
		Shelf:   bucket.New(f.AWS, f.Need(names.EnvBucketRecordings)),
		Ledger:  books,
		Ended:   func(ctx context.Context, session string) (bool, error) { return ended(ctx, db, table, session) },
		Cluster: f.Cluster, Entropy: rand.Reader,
	})
	documents := head.New(head.Config{DynamoDB: db, S3: s3.NewFromConfig(f.AWS, head.ByPath), Table: state, Bucket: f.Need(names.EnvBucketDocuments)})
	trust := func(ctx context.Context) ([]document.Trust, error) { return trusted(ctx, documents) }
	l := gap.New(gap.Config{DynamoDB: db, Events: table, State: state, Ledger: books, Cluster: f.Cluster, For: readFor, Trust: trust})
	c := archive.NewChecker(archive.CheckerConfig{
		Entry: records.Get, Ledger: books, Cluster: f.Cluster, Keeps: ledger.Keep,
		Begun: begun{db, table, trust}.between,
	})
	signers := map[string]string{}
	wrong := json.Unmarshal([]byte(f.Need(names.EnvSigners)), &signers)
	signatures := signatures{f.Log, tally.New(tally.Config{
		Queue: sqs.NewFromConfig(f.AWS), URL: f.Need(names.EnvSignings), DynamoDB: db, Claims: table, State: state, Signers: signers,
		Ledger: books, Cluster: f.Cluster, For: readFor,
	})}
	stated := book.New(book.Config{
		DynamoDB: db, State: state, Ledger: books, Cluster: f.Cluster, Writer: names.WriterFunction + "sweep", Entropy: rand.Reader,
	})
	lake := invoke.Function[holding.Call, holding.Answer](sdk.NewFromConfig(f.AWS), f.Need(names.EnvQuery))
	tried := canary.New(canary.Config{DynamoDB: db, Events: table, State: state, Ledger: books, Lake: lake, Cluster: f.Cluster, Entropy: rand.Reader})
	held := compare.New(compare.Config{
		DynamoDB: db, Events: table, State: state, Ledger: books, Book: stated, Cluster: f.Cluster, For: readFor,
		Bus:  relay.NewSender(eventbridge.NewFromConfig(f.AWS), f.Need(names.EnvBus)),
		Lake: lake,
	})
	hours := hourly{
		log:  f.Log,
		book: stated,
		checks: []check{
			{checked.Sequences, gap.Patience, l.Hour},
			{checked.Recordings, claimed, func(ctx context.Context, from time.Time) (checked.Statement, bool, error) {
				s, err := c.Hour(ctx, from)
				return s, true, err
			}},
			{checked.Signatures, tally.Patience, signatures.hour},
		},
	}
	sent := hourly{f.Log, stated, []check{{checked.Canaries, canary.Patience, tried.Hour}}} // which wait for the lake
	return func(ctx context.Context, _ json.RawMessage) error {
		var all sync.WaitGroup // none waits for what holds up another
		var swept, settled, looked, compared, arrived error
		all.Go(func() { swept = sweep(ctx, f.Log, s) })
		all.Go(func() { settled = signatures.compare(ctx) })
		all.Go(func() { looked = errors.Join(look(ctx, f.Log, l), hours.state(ctx, time.Now())) })
		all.Go(func() { compared = hours.against(ctx, held, time.Now()) })
		all.Go(func() { arrived = sent.canaries(ctx, tried, time.Now()) })
		all.Wait()
		return errors.Join(swept, settled, looked, compared, arrived)
	}, errors.Join(f.Err(), wrong)
}

// readFor is how long a run reads the ledger, and the queue of signatures; the template gives it five minutes for everything.
const readFor = 2 * time.Minute

// sweep closes recordings.
func sweep(ctx context.Context, log *slog.Logger, s *archive.Sweeper) error {
	now := time.Now()
	closed, err := s.Sweep(ctx, now)
	for _, session := range closed {
		log.WarnContext(ctx, "Recording abandoned by its agent", slog.String("session_id", session))
	}
	return errors.Join(err, measure(now, names.MetricRecordingsAbandoned, len(closed)))
}

// look tells what the ledger lacks.
func look(ctx context.Context, log *slog.Logger, l *gap.Looker) error {
	now := time.Now()
	told, err := l.Look(ctx, now)
	found := 0
	for _, g := range told {
		log.WarnContext(ctx, "Audit events missing", slog.String("source", g.Source), slog.String("source_epoch", g.Epoch),
			slog.Uint64("from", g.First), slog.Uint64("to", g.Last), slog.Int("more", g.More))
		found += 1 + g.More
	}
	return errors.Join(err, measure(now, names.MetricLedgerGaps, found))
}

// measure writes a count, which an alarm reads.
func measure(at time.Time, name string, n int) error {
	return metric.Write(os.Stdout, at, "sweep", metric.Value{Name: name, Unit: "Count", Value: int64(n)})
}

// trusted returns the trust documents, the oldest first; none before there is one.
func trusted(ctx context.Context, documents *head.Store) ([]document.Trust, error) {
	h, err := documents.Read(ctx)
	if err != nil {
		return nil, err
	}
	chain, err := documents.Trust(ctx, h)
	if errors.Is(err, head.ErrNone) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return document.OpenChain(chain, "")
}

// ended reports whether the ledger holds the end of a session.
func ended(ctx context.Context, db reader.API, table, session string) (bool, error) {
	for after, more := "", true; more; {
		entries, next, err := reader.Session(ctx, db, table, session, after, 100)
		if err != nil {
			return false, err
		}
		for _, e := range entries {
			if e.Event.Type == audit.SessionEnd {
				return true, nil
			}
		}
		after, more = next, next != ""
	}
	return false, nil
}
