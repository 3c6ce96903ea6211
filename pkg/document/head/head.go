// Package head reads and moves the head item, which says which trust, policy and revocations documents are
// the newest, and fetches those documents: trust and policy from S3, revocations from DynamoDB.
//
// [Store] only verifies addresses, and whoever reads a document through it opens it with package document; [Verifier]
// does both. Functions and proxies read through it; only publish and rotate write. Its entry point is [New].
package head

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"

	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/document/revoked"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/table"
)

// maxDocument bounds a document in S3: the largest body in base64, and its signature.
const maxDocument = document.MaxPolicy/3*4 + 4<<10

// S3 is what we use of an *s3.Client.
type S3 interface {
	GetObject(context.Context, *s3.GetObjectInput, ...func(*s3.Options)) (*s3.GetObjectOutput, error)
	PutObject(context.Context, *s3.PutObjectInput, ...func(*s3.Options)) (*s3.PutObjectOutput, error)
}

// ByPath has an S3 client address buckets by path: the bucket's name is ours and needs no host name.
func ByPath(o *s3.Options) { o.UsePathStyle = true }

// Config says where head and documents are kept.
type Config struct {
	DynamoDB table.API
	S3       S3
	Table    string // state
	Bucket   string // documents
}

// Head says which documents are the newest.
type Head = document.Head

// ErrNone says that there is no document of this kind yet: the deployment has not finished.
var ErrNone = errors.New("no document published yet")

// Store reads, and for publish and rotate moves, the head. It may be used by several goroutines.
type Store struct {
	table  table.Table
	s3     S3
	bucket string

	mu    sync.Mutex
	cache map[string][]byte // objects by key: their content never changes. The newest of each kind only
}

// New makes a store.
func New(c Config) *Store {
	return &Store{table: table.Table{API: c.DynamoDB, Name: c.Table}, s3: c.S3, bucket: c.Bucket, cache: map[string][]byte{}}
}

var (
	keyHead        = table.Key{PK: names.Head, SK: "head"}
	keyRevocations = table.Key{PK: names.Head, SK: "revocations"}
	keyLease       = table.Key{PK: names.Head, SK: "lease"}
)

// Read returns the head with strong consistency; the zero Head before the first deployment has run.
func (s *Store) Read(ctx context.Context) (Head, error) { return s.read(ctx, s.table.Get) }

// Glance returns the head with eventual consistency, for callers that look several times a second.
func (s *Store) Glance(ctx context.Context) (Head, error) { return s.read(ctx, s.table.Glance) }

type getter func(context.Context, table.Key) (table.Item, error)

func (s *Store) read(ctx context.Context, get getter) (Head, error) {
	item, err := get(ctx, keyHead)
	if errors.Is(err, table.ErrNotFound) {
		return Head{}, nil
	}
	if err != nil {
		return Head{}, err
	}
	return s.parse(item), nil
}

func (s *Store) parse(i table.Item) Head {
	version := func(kind string) identity.Version {
		counter, epoch := i.Int(kind+"_counter"), i.Int(kind+"_epoch")
		if counter <= 0 {
			return identity.Version{}
		}
		if epoch == 0 { // as in a head from before each kind had its own
			epoch = i.Int("epoch")
		}
		return identity.Version{Epoch: uint64(max(epoch, 0)), Counter: uint64(counter)}
	}
	h := Head{
		Trust: version("trust"), Policy: version("policy"), Revocations: version("revocations"),
		PolicySHA256: i.Text("policy_sha256"), Input: i.Int("input"), Orders: i.Int("orders"),
	}
	if written := i.Text("written_to"); written != s.table.Name { // a restore makes a table of another name
		h.CopyOf = written
	}
	return h
}

// Current returns the head and the revocations document of one strongly consistent read. The document is nil
// before the first publication.
func (s *Store) Current(ctx context.Context) (Head, *document.Signed, error) {
	items, err := s.table.List(ctx, names.Head)
	if err != nil {
		return Head{}, nil, err
	}
	var h Head
	var doc *document.Signed
	for _, i := range items {
		switch i.Text(names.SK) {
		case keyHead.SK:
			h = s.parse(i)
		case keyRevocations.SK:
			if doc, err = parseSigned(i.Bytes("document")); err != nil {
				return Head{}, nil, fmt.Errorf("reading revocations: %w", err)
			}
		}
	}
	return h, doc, nil
}

// Trust returns the chain of trust documents, oldest first, whose last is the head's. ErrNone when there is none.
func (s *Store) Trust(ctx context.Context, h Head) ([]document.Signed, error) {
	if h.Trust == (identity.Version{}) {
		return nil, fmt.Errorf("reading trust: %w", ErrNone)
	}
	body, err := s.object(ctx, trustKey(h.Trust))
	if err != nil {
		return nil, err
	}
	var chain []document.Signed
	if err := json.Unmarshal(body, &chain); err != nil {
		return nil, fmt.Errorf("reading trust %v: %w", h.Trust, err)
	}
	return chain, nil
}

// Policy returns the head's policy document, whose bytes are those that the head names. ErrNone when there is none.
func (s *Store) Policy(ctx context.Context, h Head) (document.Signed, error) {
	if h.PolicySHA256 == "" {
		return document.Signed{}, fmt.Errorf("reading policy: %w", ErrNone)
	}
	body, err := s.object(ctx, policyKey(h.PolicySHA256))
	if err != nil {
		return document.Signed{}, err
	}
	if digest(body) != h.PolicySHA256 {
		return document.Signed{}, fmt.Errorf("reading policy: object %s doesn't contain what its name says", policyKey(h.PolicySHA256))
	}
	doc, err := parseSigned(body)
	if err != nil {
		return document.Signed{}, fmt.Errorf("reading policy: %w", err)
	}
	return *doc, nil
}

// Revocations returns the newest revocations document, read with strong consistency. ErrNone when there is none.
func (s *Store) Revocations(ctx context.Context) (document.Signed, error) {
	item, err := s.table.Get(ctx, keyRevocations)
	if errors.Is(err, table.ErrNotFound) {
		return document.Signed{}, fmt.Errorf("reading revocations: %w", ErrNone)
	}
	if err != nil {
		return document.Signed{}, err
	}
	doc, err := parseSigned(item.Bytes("document"))
	if err != nil {
		return document.Signed{}, fmt.Errorf("reading revocations: %w", err)
	}
	return *doc, nil
}

func parseSigned(b []byte) (*document.Signed, error) {
	var doc document.Signed
	if err := json.Unmarshal(b, &doc); err != nil {
		return nil, fmt.Errorf("parsing a signed document: %w", err)
	}
	return &doc, nil
}

// Stored returns a list of what was revoked, read with strong consistency; the empty one before the first publication.
func (s *Store) Stored(ctx context.Context, list string) (document.Stored, error) {
	item, err := s.table.Get(ctx, keyList(list))
	if errors.Is(err, table.ErrNotFound) {
		return document.Stored{}, nil
	}
	if err != nil {
		return document.Stored{}, err
	}
	out := document.Stored{Base: item.Text("base")}
	if out.Base != "" {
		body, err := s.object(ctx, listKey(out.Base))
		if lost(err) {
			return document.Stored{}, fmt.Errorf("%w: its base is lost: %w", revoked.ErrMalformed, err)
		}
		if err != nil {
			return document.Stored{}, err
		}
		if out.From, err = revoked.Parse(body); err != nil || digest(body) != out.Base {
			return document.Stored{}, fmt.Errorf("reading revocations: object %s is not the list that its name says: %w", listKey(out.Base), errors.Join(err, revoked.ErrMalformed))
		}
	}
	if out.Set, err = out.From.Apply(item.Bytes("change")); err != nil {
		return document.Stored{}, fmt.Errorf("reading the revocations of %s: %w", list, err)
	}
	return out, nil
}

// lost reports whether an object isn't there. S3 says that access is denied to who may read objects and not list them, as
// nobody here may.
func lost(err error) bool {
	api, is := errors.AsType[smithy.APIError](err)
	return is && (api.ErrorCode() == "NoSuchKey" || api.ErrorCode() == "AccessDenied")
}

// Lists puts beside a revocations document the lists that a holder lacks to accept it. A document that the holder refuses is
// returned as it is. A list that isn't the one that the document names is left out: one that was written since the document was
// read is no forgery, and the holder says [document.ErrLists].
func (s *Store) Lists(ctx context.Context, h Lacking, doc document.Signed) (document.Signed, error) {
	lacks, err := h.Lacks(doc)
	if err != nil || len(lacks) == 0 {
		return doc, nil //nolint:nilerr // accepting it says why it is refused
	}
	doc.Lists = map[string]revoked.Records{}
	for list, sum := range lacks {
		stored, err := s.Stored(ctx, list)
		if err != nil {
			return document.Signed{}, err
		}
		if !stored.Set.Is(sum) {
			continue
		}
		doc.Lists[list] = revoked.Records{Whole: true, Entries: stored.Set.Bytes()}
	}
	return doc, nil
}

// Lacking is a [document.Holder], as far as lists are concerned.
type Lacking interface {
	Lacks(document.Signed) (map[string]revoked.Sum, error)
}

func digest(b []byte) string { d := sha256.Sum256(b); return hex.EncodeToString(d[:]) }

func trustKey(v identity.Version) string {
	return fmt.Sprintf("trust/%d-%012d.json", v.Epoch, v.Counter)
}

func policyKey(sha string) string { return "policy/" + sha + ".json" }

func listKey(sha string) string { return "revocations/" + sha }

// keyList is the item of a list: not beside the head, which is read several times a second.
func keyList(list string) table.Key { return table.Key{PK: names.Revoked, SK: list} }

// object reads an immutable object, only once while it stays among the newest few.
func (s *Store) object(ctx context.Context, key string) ([]byte, error) {
	s.mu.Lock()
	body, ok := s.cache[key]
	s.mu.Unlock()
	if ok {
		return body, nil
	}
	out, err := s.s3.GetObject(ctx, &s3.GetObjectInput{Bucket: &s.bucket, Key: &key})
	if err != nil {
		return nil, fmt.Errorf("reading document %s: %w", key, err)
	}
	defer func() { _ = out.Body.Close() }()
	body, err = io.ReadAll(io.LimitReader(out.Body, maxDocument+1))
	if err != nil {
		return nil, fmt.Errorf("reading document %s: %w", key, err)
	}
	if len(body) > maxDocument {
		return nil, fmt.Errorf("reading document %s: it is larger than %d bytes", key, maxDocument)
	}
	s.keep(key, body)
	return bytes.Clone(body), nil
}

func (s *Store) keep(key string, body []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.cache) >= 8 {
		clear(s.cache)
	}
	s.cache[key] = body
}
