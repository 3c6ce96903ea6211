// Package tally compares what KMS signed with the cluster's keys with what the functions that may sign say of it.
//
// CloudTrail keeps a record of each use of a key, and EventBridge brings it into a queue. A function that signed claims the requests
// to KMS that it made ([ledger.Claim]); its role lets it claim nothing in another's name. A record is settled by a claim of the very
// function whose role made the request. One that nobody claims within [Wait] is told: somebody signed around the signers. Each hour is
// stated once: how many signatures there were, how many nobody claimed, and what can't be proved, since claims have no records. That
// is never taken for good: where no records come, anybody could have signed.
//
// A record stays in the queue until it is settled or told. A claim proves that the holder of a function's role says so: whoever has
// that role's credentials can sign and claim, and only what became of the signature tells them from the function.
//
// Its entry points are [Tally.Settle] and [Tally.Hour].
package tally

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"golang.org/x/sync/errgroup"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/checked"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/table"
)

// Wait is how old a record must be before nobody is expected to claim it any more. Functions claim at their end, which is two minutes
// after they began at the latest.
const Wait = 5 * time.Minute

// Bounds of a look into the queue.
const (
	mostRecords = 20_000          // that are taken out; the next look goes on
	mostTold    = 200             // that are told; what is beyond stays in the queue
	mostErrors  = 20              // after which a look ends
	atOnce      = 8               // calls that receive records
	batch       = 10              // records in one of them, as many as SQS gives
	listen      = 1               // seconds for which a call waits, so that SQS asks all its servers
	hidden      = 5 * time.Minute // for which nobody else gets a record that was taken out; longer than a look takes
)

// kept is how long it is known which records there were. SQS keeps a message for 14 days at most, and may bring it twice.
const kept = 30 * 24 * time.Hour

// Queue is what is needed of SQS.
type Queue interface {
	ReceiveMessage(context.Context, *sqs.ReceiveMessageInput, ...func(*sqs.Options)) (*sqs.ReceiveMessageOutput, error)
	DeleteMessage(context.Context, *sqs.DeleteMessageInput, ...func(*sqs.Options)) (*sqs.DeleteMessageOutput, error)
}

// Ledger is where findings are told.
type Ledger interface {
	Append(context.Context, ...audit.Event) error
}

// Config is what a tally needs.
type Config struct {
	Queue    Queue
	URL      string // of the queue
	DynamoDB table.API
	Claims   string            // name of the ledger's table
	State    string            // name of the table where it is kept which records there were
	Signers  map[string]string // ARN of a role to the function that signs by it
	Ledger   Ledger
	Cluster  string
	For      time.Duration // after which a look takes no more out of the queue
}

// Tally compares signatures with claims. Several may at once.
type Tally struct {
	config Config
	claims table.Table
	state  table.Table
}

// New makes a tally.
func New(c Config) *Tally {
	return &Tally{c, table.Table{API: c.DynamoDB, Name: c.Claims}, table.Table{API: c.DynamoDB, Name: c.State}}
}

// Unclaimed is a record that was told.
type Unclaimed struct {
	Request string // id of the request to KMS
	Key     string // ARN of the key that signed
	By      string // ARN of who used it
	At      time.Time
}

// look is one look into the queue.
type look struct {
	*Tally

	now, began time.Time

	mu     sync.Mutex
	taken  int
	room   int // how many more may be told
	told   []Unclaimed
	faults []error
}

// Settle takes records out of the queue and compares them with the claims. It returns those that it told, which nobody claims. What it
// could not settle stays in the queue for the next look, and one bad record holds up no other.
func (t *Tally) Settle(ctx context.Context, now time.Time) ([]Unclaimed, error) {
	began, err := t.began(ctx, now)
	if err != nil {
		return nil, fmt.Errorf("comparing signatures with claims: %w", err)
	}
	l := &look{Tally: t, now: now.UTC(), began: began, room: mostTold}
	reading, done := context.WithTimeout(ctx, t.config.For)
	defer done()
	var all errgroup.Group
	for range atOnce {
		all.Go(func() error { return l.drain(ctx, reading) })
	}
	if err := errors.Join(append(l.faults, all.Wait())...); err != nil {
		return l.told, fmt.Errorf("comparing signatures with claims: %w", err)
	}
	return l.told, nil
}

// drain takes records out until there are none, or enough. A call that is cut off by the end of the time is none that failed.
func (l *look) drain(ctx, reading context.Context) error {
	for l.more() {
		out, err := l.config.Queue.ReceiveMessage(reading, &sqs.ReceiveMessageInput{
			QueueUrl: &l.config.URL, MaxNumberOfMessages: batch, WaitTimeSeconds: listen, VisibilityTimeout: int32(hidden / time.Second),
			MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameSentTimestamp},
		})
		switch {
		case reading.Err() != nil && ctx.Err() == nil:
			return nil
		case err != nil:
			return fmt.Errorf("reading the queue of signatures: %w", err)
		case len(out.Messages) == 0:
			return nil
		}
		for _, m := range out.Messages {
			l.take(ctx, m)
		}
	}
	return nil
}

// more reports whether another batch may be taken out.
func (l *look) more() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.taken += batch
	return l.taken <= mostRecords && len(l.faults) < mostErrors
}

// take settles a record, or leaves it in the queue.
func (l *look) take(ctx context.Context, m types.Message) {
	settled, err := l.settle(ctx, read(m))
	if err == nil && settled {
		if _, failed := l.config.Queue.DeleteMessage(ctx, &sqs.DeleteMessageInput{QueueUrl: &l.config.URL, ReceiptHandle: m.ReceiptHandle}); failed != nil {
			err = fmt.Errorf("deleting a record: %w", failed)
		}
	}
	if err != nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.faults = append(l.faults, err)
	}
}

var keyBegan = table.Key{PK: names.Looked, SK: "signatures"}

// begins is the attribute of since when signatures are compared.
const begins = "began_ms"

// began is since when signatures are compared with claims, a whole hour.
func (t *Tally) began(ctx context.Context, now time.Time) (time.Time, error) {
	first := checked.First(now) // until then functions may sign that claim nothing yet, or the rule isn't there that brings records
	i, err := t.state.Get(ctx, keyBegan)
	if errors.Is(err, table.ErrNotFound) {
		i = table.Item{names.PK: table.String(keyBegan.PK), names.SK: table.String(keyBegan.SK), begins: table.Int(first.UnixMilli())}
		err = t.state.Create(ctx, i)
		if other, ok := errors.AsType[*table.Conflict](err); ok {
			i, err = other.There, nil
		}
	}
	if err != nil {
		return time.Time{}, err
	}
	return time.UnixMilli(i.Int(begins)).UTC(), nil
}
