package integration_test

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/ledger/reader"
)

// vandal is somebody who may write the state table: what they put in the documents' place is refused by
// everybody who is given it, with an event, and what was in force stays in force.
type vandal struct {
	db       *dynamodb.Client
	table    string
	ledger   string
	replaced []item // what stood where the bad document was put last
}

func newVandal(t *testing.T) *vandal {
	t.Helper()
	v := &vandal{db: dynamodb.NewFromConfig(shared.readerConfig(t))}
	tables, err := v.db.ListTables(t.Context(), &dynamodb.ListTablesInput{})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range tables.TableNames {
		if strings.Contains(strings.ToLower(name), "state") {
			v.table = name
		}
		if strings.Contains(strings.ToLower(name), "ledger") {
			v.ledger = name
		}
	}
	if v.table == "" || v.ledger == "" {
		t.Fatalf("no state table or no ledger among %v", tables.TableNames)
	}
	return v
}

type item = map[string]types.AttributeValue

func (v *vandal) get(t *testing.T, sk string) item {
	t.Helper()
	out, err := v.db.GetItem(context.WithoutCancel(t.Context()), &dynamodb.GetItemInput{
		TableName: aws.String(v.table), ConsistentRead: aws.Bool(true),
		Key: item{"pk": &types.AttributeValueMemberS{Value: "head"}, "sk": &types.AttributeValueMemberS{Value: sk}},
	})
	if err != nil || out.Item == nil {
		t.Fatalf("reading head/%s: %v", sk, err)
	}
	return out.Item
}

func (v *vandal) put(t *testing.T, i item) {
	t.Helper()
	if _, err := v.db.PutItem(context.WithoutCancel(t.Context()), &dynamodb.PutItemInput{TableName: aws.String(v.table), Item: i}); err != nil {
		t.Fatal(err)
	}
}

func bodyOf(i item) []byte { return i["document"].(*types.AttributeValueMemberB).Value }

// refused reports whether the ledger holds an event about a document refused for this reason. A proxy writes
// the same reason once a minute.
func refused(t *testing.T, reason string) bool {
	t.Helper()
	return slices.ContainsFunc(shared.ledger(t).Entries, func(e reader.Entry) bool {
		return e.Event.Type == audit.DocumentRefused && e.Standing != reader.Refused && strings.Contains(e.Event.Reason, reason)
	})
}

func TestAnOlderOrUnsignedDocumentIsRefusedWithAnEvent(t *testing.T) {
	p := shared.person(t, engineer).login(t)
	v := newVandal(t)
	old := v.get(t, "revocations")
	boss := shared.person(t, admin).login(t)
	boss.publish(t, v)
	for name, c := range map[string]struct {
		reason string
		bend   func(*document.Signed)
	}{
		"older":    {document.ErrOlder.Error(), func(*document.Signed) {}},
		"unsigned": {document.ErrUnsigned.Error(), func(s *document.Signed) { s.Signature = nil }},
		"altered": {"signature doesn", func(s *document.Signed) {
			s.Body = bytes.Replace(s.Body, []byte(`"counter":`), []byte(`"counter":9`), 1)
		}},
		"signed by a key that is not trusted": {document.ErrRetired.Error(), func(s *document.Signed) { s.KeyID = flip(s.KeyID) }},
	} {
		t.Run(name, func(t *testing.T) {
			var signed document.Signed
			if err := json.Unmarshal(bodyOf(old), &signed); err != nil {
				t.Fatal(err)
			}
			c.bend(&signed)
			bad, err := json.Marshal(signed)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { v.restore(t, bad) })
			looks := 0
			eventually(t, 20*time.Second, func() string {
				// The right document stands there for a second and the bad one for another, so that a proxy, which
				// looks four times a second, holds the right one before it is given the bad one.
				if looks++; looks%20 < 10 {
					v.restore(t, bad)
				} else {
					v.place(t, bad)
				}
				if refused(t, c.reason) {
					return ""
				}
				return "no event says that a document was refused"
			})
			if r := p.run(t, nil, "ssh", "node-1", "--", "true"); r.status != 0 {
				t.Errorf("what was in force is so no more: %s", r.err)
			}
		})
	}
}

// restore takes a bad document away again, unless a publication did so.
func (v *vandal) restore(t *testing.T, bad []byte) {
	t.Helper()
	if !bytes.Equal(bodyOf(v.get(t, "revocations")), bad) {
		return
	}
	for _, i := range v.replaced {
		v.put(t, i)
	}
}

// place puts bytes where the newest revocations document stands, and a head that says that they are newer.
func (v *vandal) place(t *testing.T, bad []byte) {
	t.Helper()
	head, revocations := v.get(t, "head"), v.get(t, "revocations")
	if bytes.Equal(bodyOf(revocations), bad) {
		return
	}
	counter, err := strconv.ParseUint(head["revocations_counter"].(*types.AttributeValueMemberN).Value, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	v.replaced = []item{maps.Clone(revocations), maps.Clone(head)}
	revocations["document"] = &types.AttributeValueMemberB{Value: bad}
	head["revocations_counter"] = &types.AttributeValueMemberN{Value: strconv.FormatUint(counter+1, 10)}
	v.put(t, revocations)
	v.put(t, head)
}

// publish has newer documents published than those that stand there, whatever those are.
func (p *person) publish(t *testing.T, v *vandal) {
	t.Helper()
	before := bodyOf(v.get(t, "revocations"))
	p.create(t, "kind: role\nmetadata: {name: newer}\nspec:\n  allow: {logins: [x], node_labels: {a: b}}\n")
	p.must(t, "rm", "role/newer")
	eventually(t, 10*time.Second, func() string {
		if bytes.Equal(bodyOf(v.get(t, "revocations")), before) {
			return "no newer document was published"
		}
		return ""
	})
}
