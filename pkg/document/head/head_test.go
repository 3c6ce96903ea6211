package head_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"

	"github.com/stile-dev/stile/pkg/app/clustertest"
	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/document/head"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/resource"
	"github.com/stile-dev/stile/pkg/table"
)

// memory is a bucket, and the partition head of a table as it is read. Each query shows the next of views.
type memory struct {
	table.API
	objects map[string][]byte
	gets    int
	views   [][]map[string]types.AttributeValue
	refusal string // of each write
}

func (m *memory) Query(context.Context, *dynamodb.QueryInput, ...func(*dynamodb.Options)) (*dynamodb.QueryOutput, error) {
	v := m.views[0]
	if len(m.views) > 1 {
		m.views = m.views[1:]
	}
	return &dynamodb.QueryOutput{Items: v}, nil
}

func (m *memory) GetObject(_ context.Context, in *s3.GetObjectInput, _ ...func(*s3.Options)) (*s3.GetObjectOutput, error) {
	m.gets++
	b, ok := m.objects[*in.Key]
	if !ok {
		return nil, &s3types.NoSuchKey{}
	}
	return &s3.GetObjectOutput{Body: io.NopCloser(bytes.NewReader(b))}, nil
}

func (m *memory) PutObject(_ context.Context, in *s3.PutObjectInput, _ ...func(*s3.Options)) (*s3.PutObjectOutput, error) {
	if in.IfNoneMatch == nil || *in.IfNoneMatch != "*" { // as the bucket's policy has it
		return nil, &smithy.GenericAPIError{Code: "AccessDenied"}
	}
	if m.refusal != "" {
		return nil, &smithy.GenericAPIError{Code: m.refusal}
	}
	if _, there := m.objects[*in.Key]; there {
		return nil, &smithy.GenericAPIError{Code: "PreconditionFailed"}
	}
	b, err := io.ReadAll(in.Body)
	m.objects[*in.Key] = b
	return &s3.PutObjectOutput{}, err
}

// show stores a cluster's documents and gives the head's items as a query sees them.
func show(t *testing.T, s *head.Store, c *clustertest.Cluster) []map[string]types.AttributeValue {
	t.Helper()
	v, err := c.Fresh(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.PutTrust(t.Context(), v.Head.Trust, v.Trust); err != nil && !errors.Is(err, document.ErrTaken) {
		t.Fatal(err)
	}
	sha, err := s.PutPolicy(t.Context(), v.Policy)
	if err != nil {
		t.Fatal(err)
	}
	revocations, err := json.Marshal(v.Revocations)
	if err != nil {
		t.Fatal(err)
	}
	return []map[string]types.AttributeValue{
		table.Item{
			"pk": table.String("head"), "sk": table.String("head"), "epoch": table.Int(1), "trust_counter": table.Int(v.Head.Trust.Counter),
			"policy_counter": table.Int(v.Head.Policy.Counter), "policy_sha256": table.String(sha), "revocations_counter": table.Int(v.Head.Revocations.Counter),
		},
		table.Item{"pk": table.String("head"), "sk": table.String("revocations"), "document": table.Bytes(revocations)},
		table.Item{"pk": table.String("head"), "sk": table.String("lease"), "holder": table.String("x")},
	}
}

func newMemory() (*memory, *head.Store) {
	m := &memory{objects: map[string][]byte{}}
	return m, head.New(head.Config{DynamoDB: m, S3: m, Table: "t", Bucket: "b"})
}

func TestAVerifierGivesVerifiedDocumentsAndFetchesEachOnce(t *testing.T) {
	m, s := newMemory()
	c := clustertest.New(t)
	m.views = [][]map[string]types.AttributeValue{show(t, s, c)}
	k := head.NewVerifier(s, c.ID)
	want, _ := c.Fresh(t.Context())
	for range 3 {
		got, err := k.Fresh(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got.State.Versions() != want.State.Versions() || !cmp.Equal(got.Trust, want.Trust) || got.Head.Revocations != want.Head.Revocations {
			t.Errorf("got %+v", got.Head)
		}
	}
	if m.gets != 2 {
		t.Errorf("%d objects read", m.gets)
	}
}

func TestAReadBetweenTwoWritesIsDoneAgain(t *testing.T) {
	m, s := newMemory()
	c := clustertest.New(t)
	before := show(t, s, c)
	c.Now = c.Now.Add(time.Minute)
	c.Publish()
	after := show(t, s, c)
	m.views = [][]map[string]types.AttributeValue{{before[0], after[1]}, after}
	got, err := head.NewVerifier(s, c.ID).Fresh(t.Context())
	if err != nil || got.Head.Policy.Counter != 2 || got.State.Policy.Version.Counter != 2 {
		t.Errorf("%+v, %v", got.Head, err)
	}
	m.views = [][]map[string]types.AttributeValue{{before[0], after[1]}}
	if _, err := head.NewVerifier(s, c.ID).Fresh(t.Context()); fault.From(err).Code != fault.Unavailable {
		t.Errorf("torn for ever: %v", err)
	}
}

func TestAVerifierRefusesWhatIsNotSignedNotAddressedOrNotOurs(t *testing.T) {
	for name, spoil := range map[string]func(*testing.T, *memory, *head.Store, *clustertest.Cluster, []map[string]types.AttributeValue) string{
		"a policy altered in place": func(_ *testing.T, m *memory, _ *head.Store, c *clustertest.Cluster, v []map[string]types.AttributeValue) string {
			key := "policy/" + table.Item(v[0]).Text("policy_sha256") + ".json"
			m.objects[key] = bytes.Replace(m.objects[key], []byte("policy"), []byte("policx"), 1)
			return c.ID
		},
		"another policy in the place of the head's, genuine as it is": func(t *testing.T, m *memory, _ *head.Store, c *clustertest.Cluster, v []map[string]types.AttributeValue) string {
			c.Publish(resource.Role{Metadata: resource.Metadata{Name: "more", Scope: "/"}})
			later, _ := c.Fresh(t.Context())
			b, _ := json.Marshal(later.Policy)
			m.objects["policy/"+table.Item(v[0]).Text("policy_sha256")+".json"] = b
			return c.ID
		},
		"revocations by another key": func(t *testing.T, _ *memory, _ *head.Store, c *clustertest.Cluster, v []map[string]types.AttributeValue) string {
			other := clustertest.New(t)
			o, _ := other.Fresh(t.Context())
			b, _ := json.Marshal(o.Revocations)
			v[1]["document"] = table.Bytes(b)
			return c.ID
		},
		"another cluster's": func(*testing.T, *memory, *head.Store, *clustertest.Cluster, []map[string]types.AttributeValue) string {
			return "ffffffff-6f6a-4c0e-9a53-0d6f3c1f7a11"
		},
	} {
		t.Run(name, func(t *testing.T) {
			m, s := newMemory()
			c := clustertest.New(t)
			v := show(t, s, c)
			id := spoil(t, m, s, c, v)
			m.views = [][]map[string]types.AttributeValue{v}
			if got, err := head.NewVerifier(s, id).Fresh(t.Context()); err == nil {
				t.Errorf("accepted %+v", got.Head)
			}
		})
	}
}

func TestATrustVersionIsNeverReplaced(t *testing.T) {
	_, s := newMemory()
	c := clustertest.New(t)
	v, _ := c.Fresh(t.Context())
	if err := s.PutTrust(t.Context(), v.Head.Trust, v.Trust); err != nil {
		t.Fatal(err)
	}
	if err := s.PutTrust(t.Context(), v.Head.Trust, []document.Signed{}); !errors.Is(err, document.ErrTaken) {
		t.Errorf("got %v", err)
	}
	if got, err := s.Trust(t.Context(), v.Head); err != nil || len(got) != 1 {
		t.Errorf("%d documents, %v", len(got), err)
	}
}

func TestBeforeTheFirstDeploymentThereIsAFaultThatSaysSo(t *testing.T) {
	m, s := newMemory()
	m.views = [][]map[string]types.AttributeValue{nil}
	if _, err := head.NewVerifier(s, "c").Fresh(t.Context()); fault.From(err).Code != fault.Unavailable {
		t.Errorf("got %v", err)
	}
}

// The bucket lets nobody write over an object. What is named by its hash is stored then; somebody who is just writing it
// may still fail, so that can't be said of theirs.
func TestWhatIsStoredAlreadyIsStored(t *testing.T) {
	m, s := newMemory()
	v, err := clustertest.New(t).Fresh(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := s.PutPolicy(t.Context(), v.Policy); err != nil {
			t.Error(err)
		}
	}
	m.refusal = "ConditionalRequestConflict"
	if _, err := s.PutPolicy(t.Context(), v.Policy); err == nil || errors.Is(err, document.ErrTaken) {
		t.Errorf("stored by somebody who may fail: %v", err)
	}
	if err := s.PutTrust(t.Context(), v.Head.Trust, v.Trust); !errors.Is(err, document.ErrTaken) {
		t.Errorf("a version that somebody is just writing: %v", err)
	}
	m.refusal = "SlowDown"
	if err := s.PutTrust(t.Context(), v.Head.Trust, v.Trust); err == nil || errors.Is(err, document.ErrTaken) {
		t.Errorf("no write at all: %v", err)
	}
}

// A restore makes a table of another name. A head from before heads named their table tells nothing.
func TestSec_S89_AHeadThatWasWrittenToAnotherTableIsACopy(t *testing.T) {
	m, s := newMemory()
	v := show(t, s, clustertest.New(t))
	for written, want := range map[string]string{"": "", "t": "", "u": "u"} {
		if written != "" {
			v[0]["written_to"] = table.String(written)
		}
		m.views = [][]map[string]types.AttributeValue{v}
		if h, _, err := s.Current(t.Context()); err != nil || h.CopyOf != want {
			t.Errorf("written to %q: %+v, %v", written, h, err)
		}
		delete(v[0], "written_to")
	}
}

func TestEachKindOfDocumentHasItsOwnEpoch(t *testing.T) {
	m, s := newMemory()
	v := show(t, s, clustertest.New(t))
	v[0]["epoch"], v[0]["policy_epoch"], v[0]["revocations_epoch"] = table.Int(3), table.Int(1), table.Int(2)
	m.views = [][]map[string]types.AttributeValue{v}
	if h, _, err := s.Current(t.Context()); err != nil || h.Trust.Epoch != 3 || h.Policy.Epoch != 1 || h.Revocations.Epoch != 2 || !h.Beginning() {
		t.Errorf("%+v, %v", h, err)
	}
}
