// Command sweep is the function of this name: it closes recordings whose agents aren't heard of any more. It sees which objects
// a recording has and reads none of them.
package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"log"
	"log/slog"
	"os"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/stile-dev/stile/pkg/app"
	"github.com/stile-dev/stile/pkg/archive"
	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/bucket"
	"github.com/stile-dev/stile/pkg/ledger"
	"github.com/stile-dev/stile/pkg/ledger/reader"
	"github.com/stile-dev/stile/pkg/metric"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/recorded"
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
	db, table := dynamodb.NewFromConfig(f.AWS), f.Need(names.EnvTableLedger)
	s := archive.NewSweeper(archive.SweeperConfig{
		Leases:  recorded.New(db, f.Need(names.EnvTableState)),
		Shelf:   bucket.New(f.AWS, f.Need(names.EnvBucketRecordings)),
		Ledger:  ledger.New(ledger.Config{DynamoDB: db, Table: table}),
		Ended:   func(ctx context.Context, session string) (bool, error) { return ended(ctx, db, table, session) },
		Cluster: f.Cluster, Entropy: rand.Reader,
	})
	return func(ctx context.Context, _ json.RawMessage) error {
		now := time.Now()
		closed, err := s.Sweep(ctx, now)
		for _, session := range closed {
			f.Log.WarnContext(ctx, "Recording abandoned by its agent", slog.String("session_id", session))
		}
		value := metric.Value{Name: names.MetricRecordingsAbandoned, Unit: "Count", Value: int64(len(closed))}
		return errors.Join(err, metric.Write(os.Stdout, now, "sweep", value))
	}, f.Err()
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
