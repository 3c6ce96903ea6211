// Package s3 is the local Simple Storage Service: gofakes3 behind our own signature and policy checks, on a
// store that lasts.
//
// What it records without acting on it: encryption, lifecycle, public access blocks
// and ownership controls. Its entry point is [Open].
package s3

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/johannesboyne/gofakes3"

	"github.com/stile-dev/stile/localstack/gate"
	"github.com/stile-dev/stile/localstack/gate/sigv4"
	"github.com/stile-dev/stile/localstack/iam"
)

// Config says where objects are kept.
type Config struct {
	Dir       string // s3.bolt and blobs/
	Authority *iam.Authority
	Logger    *slog.Logger     // default discards
	Now       func() time.Time // default time.Now
	OnCreated func(Created)    // told of every object in a bucket that tells EventBridge; nil tells nobody
}

// Service is the local S3. It is safe for concurrent use.
type Service struct {
	config  Config
	store   *backend
	handler http.Handler
}

// Open reads or creates the store kept in c.Dir. Close it when done.
func Open(c Config) (*Service, error) {
	if c.Authority == nil {
		return nil, errors.New("opening s3: Config.Authority is missing")
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	b, err := openBackend(c.Dir, c.Now)
	if err != nil {
		return nil, fmt.Errorf("opening s3: %w", err)
	}
	b.created = c.OnCreated
	fake := gofakes3.New(b, gofakes3.WithTimeSkewLimit(0), gofakes3.WithoutVersioning(), gofakes3.WithMetadataSizeLimit(8<<10))
	return &Service{config: c, store: b, handler: fake.Server()}, nil
}

// Close releases the files.
func (s *Service) Close() error { return s.store.db.Close() }

// Name is the signing name.
func (*Service) Name() string { return "s3" }

// Operation is what the method, path and query ask for.
func (s *Service) Operation(c *gate.Call) string {
	query, err := sigv4.Values(c.HTTP.URL.RawQuery)
	if err != nil {
		return ""
	}
	op, err := classify(c.HTTP, query)
	if err != nil {
		return ""
	}
	return op.name
}

// ServeAWS answers one call.
func (s *Service) ServeAWS(w http.ResponseWriter, c *gate.Call) {
	if err := s.serve(w, c); err != nil {
		gate.WriteError(w, c, gate.RESTXML, err)
	}
}

func (s *Service) serve(w http.ResponseWriter, c *gate.Call) error {
	if c.Principal == nil {
		return denied()
	}
	query, err := sigv4.Values(c.HTTP.URL.RawQuery)
	if err != nil {
		return &gate.Error{Code: "InvalidURI", Message: "Couldn't parse the specified URI."}
	}
	op, err := classify(c.HTTP, query)
	if err != nil {
		return err
	}
	if err := checkHeaders(c.HTTP.Header); err != nil {
		return err
	}
	info, there, err := s.store.info(op.bucket)
	if err != nil {
		return err
	}
	if op.name == "DeleteObjects" {
		return s.deleteObjects(w, c, op, info)
	}
	if err := s.authorize(c, op, info); err != nil {
		return err
	}
	if op.bucket != "" && !there {
		return &gate.Error{Code: "NoSuchBucket", Status: http.StatusNotFound, Message: "The specified bucket does not exist"}
	}
	return s.answer(w, c, op, info, query)
}

// answer carries out permitted operations: a few here, the rest in gofakes3.
func (s *Service) answer(w http.ResponseWriter, c *gate.Call, op operation, info bucketInfo, query url.Values) error {
	version := query.Get("versionId")
	switch {
	case op.name == "ListObjectVersions":
		return s.listVersions(w, c, op, query)
	case slices.Contains(lockOperations, op.name):
		return s.lock(w, c, op, info, version)
	case version != "" && op.name == "DeleteObject":
		return s.unmake(w, c, op, info, version)
	case version != "":
		return s.version(w, c, op, info, version)
	}
	switch op.name {
	case "GetObject", "HeadObject":
		if err := s.mayMiss(c, op, info); err != nil {
			return err
		}
		if o, err := s.store.find(op.bucket, op.key); err == nil { // gofakes3 tells an error
			s.tellLock(w, c, op, info, o)
		}
	case "PutObject":
		if info.Lock.demandsDigest() && !hasDigest(c.HTTP.Header) {
			return noDigest("Put Object")
		}
		if err := verifyChecksums(c.HTTP.Header, c.Body); err != nil {
			return err
		}
	}
	s.forward(w, c, op, query)
	return nil
}

// mayMiss hides from callers who may not list the bucket that a key doesn't exist: 403 in place of 404.
func (s *Service) mayMiss(c *gate.Call, op operation, info bucketInfo) error {
	_, err := s.store.find(op.bucket, op.key)
	if !gofakes3.HasErrorCode(err, gofakes3.ErrNoSuchKey) {
		return nil // gofakes3 tells any other error
	}
	list := operation{name: "ListObjects", action: "s3:ListBucket", bucket: op.bucket}
	if s.authorize(c, list, info) != nil {
		return denied()
	}
	return nil
}

func denied() error {
	return &gate.Error{Code: "AccessDenied", Status: http.StatusForbidden, Message: "Access Denied"}
}

// authorize asks the identity's policies and the bucket's.
func (s *Service) authorize(c *gate.Call, op operation, info bucketInfo) error {
	policies, err := info.policies(op.bucket)
	if err != nil {
		return err
	}
	return c.Authorize(iam.Query{
		Action: op.action, Resource: op.resource(s.config.Authority.Partition()), Context: contextOf(c, op), ResourcePolicies: policies,
	})
}

// policies are a bucket's own, none or one.
func (b bucketInfo) policies(name string) ([]*iam.Policy, error) {
	if len(b.Policy) == 0 {
		return nil, nil
	}
	p, err := iam.Parse("bucket policy of "+name, iam.ResourceShape, b.Policy)
	if err != nil {
		return nil, err
	}
	return []*iam.Policy{p}, nil
}

// contextOf returns the condition keys that S3 adds. Every write here makes an object: there are no parts of one.
func contextOf(c *gate.Call, op operation) map[string][]string {
	context := map[string][]string{}
	if v := c.HTTP.Header.Get("If-None-Match"); v != "" {
		context["s3:if-none-match"] = []string{v}
	}
	if op.action == "s3:PutObject" {
		context["s3:objectcreationoperation"] = []string{"true"}
	}
	return context
}

// checkHeaders refuses features that would be silently ignored.
func checkHeaders(h http.Header) error {
	for name := range h {
		lower := strings.ToLower(name)
		if hasAnyPrefix(lower, "x-amz-copy-source", "x-amz-grant-", "x-amz-object-lock-", "x-amz-tagging",
			"x-amz-website-redirect-location", "x-amz-server-side-encryption-customer-", "x-amz-mfa", "x-amz-write-offset-bytes") {
			return notImplemented("the header " + lower)
		}
	}
	switch acl := h.Get("X-Amz-Acl"); acl {
	case "", "private", "bucket-owner-full-control":
	default:
		return &gate.Error{Code: "AccessControlListNotSupported", Message: "The bucket does not allow ACLs"}
	}
	switch sse := h.Get("X-Amz-Server-Side-Encryption"); sse {
	case "", "AES256":
	default:
		return notImplemented("server-side encryption " + sse)
	}
	return nil
}

func hasAnyPrefix(s string, prefixes ...string) bool {
	for _, p := range prefixes {
		if strings.HasPrefix(s, p) {
			return true
		}
	}
	return false
}
