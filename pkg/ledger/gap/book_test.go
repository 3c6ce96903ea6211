package gap_test

import (
	"context"
	"crypto"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/ledger"
	"github.com/stile-dev/stile/pkg/ledger/gap"
	"github.com/stile-dev/stile/pkg/ledger/reader"
	"github.com/stile-dev/stile/pkg/table"
	"github.com/stile-dev/stile/pkg/tunnel/tunneltest"
)

// book is both tables in memory, with an agent that writes into one and a looker that reads it.
type book struct {
	table.API
	t       *testing.T
	mu      sync.Mutex
	items   map[string]table.Item // by table, partition and sort key
	now     time.Time
	ledger  *ledger.Ledger
	looker  *gap.Looker
	cluster *tunneltest.Cluster
	host    identity.Host
	own     tunneltest.Credential
	writes  int // into both tables
	failAt  int // this write fails, and all after it
	queries int
}

func newBook(t *testing.T) *book {
	b := &book{t: t, items: map[string]table.Item{}, now: time.Now().Add(time.Minute).Truncate(time.Millisecond), cluster: tunneltest.New(t)}
	b.host, b.own = b.cluster.Agent(nil, "web-1")
	b.ledger = ledger.New(ledger.Config{DynamoDB: b, Table: "ledger", Now: func() time.Time { return b.now }})
	b.looker = b.looks(time.Minute)
	return b
}

// looks is a looker that reads for so long.
func (b *book) looks(long time.Duration) *gap.Looker {
	trust := []document.Trust{b.cluster.Holder().Trust()}
	return gap.New(gap.Config{
		DynamoDB: b, Events: "ledger", State: "state", Ledger: b.ledger, Cluster: b.host.Cluster, For: long,
		Trust: func(context.Context) ([]document.Trust, error) { return trust, nil },
	})
}

func place(name string, i table.Item) string { return name + "|" + i.Text("pk") + "|" + i.Text("sk") }

var errDown = errors.New("down")

func (b *book) write() error {
	if b.writes++; b.failAt > 0 && b.writes >= b.failAt {
		return errDown
	}
	return nil
}

// PutItem knows the conditions that are asked for.
func (b *book) PutItem(_ context.Context, in *dynamodb.PutItemInput, _ ...func(*dynamodb.Options)) (*dynamodb.PutItemOutput, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.write(); err != nil {
		return nil, err
	}
	k := place(*in.TableName, in.Item)
	old, there := b.items[k]
	if c := in.ConditionExpression; c != nil {
		holds := !there
		if *c == "revision = :was" {
			holds = there && old.Int("revision") == table.Item(in.ExpressionAttributeValues).Int(":was")
		} else if *c != "attribute_not_exists(pk)" {
			return nil, fmt.Errorf("an unknown condition %q", *c)
		}
		if !holds {
			return nil, &types.ConditionalCheckFailedException{Item: old}
		}
	}
	b.items[k] = in.Item
	return &dynamodb.PutItemOutput{}, nil
}

func (b *book) DeleteItem(_ context.Context, in *dynamodb.DeleteItemInput, _ ...func(*dynamodb.Options)) (*dynamodb.DeleteItemOutput, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.write(); err != nil {
		return nil, err
	}
	delete(b.items, place(*in.TableName, in.Key))
	return &dynamodb.DeleteItemOutput{}, nil
}

func (b *book) GetItem(_ context.Context, in *dynamodb.GetItemInput, _ ...func(*dynamodb.Options)) (*dynamodb.GetItemOutput, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(table.Item(in.Key).Text("pk")) > 2048 {
		return nil, errors.New("ValidationException") // as DynamoDB
	}
	return &dynamodb.GetItemOutput{Item: b.items[place(*in.TableName, in.Key)]}, nil
}

func (b *book) Query(_ context.Context, in *dynamodb.QueryInput, _ ...func(*dynamodb.Options)) (*dynamodb.QueryOutput, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.queries++
	pk, after := table.Item(in.ExpressionAttributeValues).Text(":pk"), table.Item(in.ExclusiveStartKey).Text("sk")
	var found []table.Item
	for k, i := range b.items {
		if strings.HasPrefix(k, *in.TableName+"|"+pk+"|") && i.Text("sk") > after {
			found = append(found, i)
		}
	}
	slices.SortFunc(found, func(a, b table.Item) int { return strings.Compare(a.Text("sk"), b.Text("sk")) })
	out := &dynamodb.QueryOutput{}
	for _, i := range found[:min(len(found), int(*in.Limit))] {
		out.Items = append(out.Items, i)
		if len(out.Items) == int(*in.Limit) {
			out.LastEvaluatedKey = table.Item{"pk": i["pk"], "sk": i["sk"]}
		}
	}
	return out, nil
}

func (b *book) event(epoch string, seq uint64, after string) audit.Event {
	e := audit.New(audit.SessionStart, rand.Reader, b.now)
	e.Actor, e.Cluster, e.Source, e.Scope = "user/ada", b.host.Cluster, "agent/"+b.host.ID, b.host.Scope
	e.TargetKind, e.Target, e.SourceEpoch, e.Seq, e.SourceAfter = "node", "web-1", epoch, seq, after
	e.Data = map[string]string{"certificate": "crt_1"}
	return e
}

// signed is an event as the agent's key signs it.
func (b *book) signed(e audit.Event) audit.Signed {
	b.t.Helper()
	body, err := json.Marshal(e)
	if err != nil {
		b.t.Fatal(err)
	}
	signature, err := audit.Sign(rand.Reader, b.own.TLS.PrivateKey.(crypto.Signer), b.host.ID, body)
	if err != nil {
		b.t.Fatal(err)
	}
	return audit.Signed{Event: e, Body: body, Signature: signature}
}

func (b *book) deliver(events ...audit.Signed) {
	b.t.Helper()
	if err := b.ledger.Deliver(b.t.Context(), audit.Delivery{Certificate: b.own.TLS.Certificate[0], Events: events}); err != nil {
		b.t.Fatal(err)
	}
}

// bring delivers events of an epoch, a second apart.
func (b *book) bring(epoch string, numbers ...uint64) {
	b.t.Helper()
	for _, n := range numbers {
		b.deliver(b.signed(b.event(epoch, n, "")))
		b.now = b.now.Add(time.Second)
	}
}

// look looks after some time, and returns what it told.
func (b *book) look(later time.Duration) (told []string) {
	b.t.Helper()
	b.now = b.now.Add(later)
	found, err := b.looker.Look(b.t.Context(), b.now)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, g := range found {
		if g.Source != "agent/"+b.host.ID {
			b.t.Errorf("a gap of %s", g.Source)
		}
		told = append(told, fmt.Sprintf("%s %d-%d +%d", g.Epoch, g.First, g.Last, g.More))
	}
	return told
}

// told is what the ledger says was missing, as its readers see it.
func (b *book) told() (all []audit.Event) {
	b.t.Helper()
	var items []table.Item
	for k, i := range b.items {
		if strings.HasPrefix(k, "ledger|event#function/sweep#") {
			items = append(items, i)
		}
	}
	for _, e := range reader.Judge(items).Entries {
		if e.Standing != reader.Proven || e.Event.Type != audit.LedgerGap {
			b.t.Errorf("%+v", e)
		}
		all = append(all, e.Event)
	}
	return all
}

func (b *book) want(got []string, want ...string) {
	b.t.Helper()
	if !slices.Equal(got, want) {
		b.t.Errorf("told %q, want %q", got, want)
	}
}

// flood adds events that nobody signed, a millisecond apart, as any proxy can write them.
func (b *book) flood(most int) {
	for n := range most {
		e, at := b.event("e1", 0, ""), b.now.Add(time.Duration(n)*time.Millisecond)
		body := fmt.Sprintf(`{"id":%q,"source":%q}`, e.ID, e.Source)
		i := table.Item{
			"pk": table.String(ledger.Partition(e.Source, at, e.ID)), "sk": table.String(ledger.Receipt(at, []byte(body))),
			"event": table.String(body), "received_ms": table.Int(at.UnixMilli()),
		}
		b.items[place("ledger", i)] = i
	}
}
