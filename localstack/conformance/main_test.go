// Package conformance_test holds one suite of what Stile relies on AWS for, negatives included, that runs on
// any endpoint: on the local AWS in this process by default, on another with -endpoint URL and the usual
// AWS_… credentials, on AWS itself with -endpoint aws.
//
// It uses what is in the account and creates no roles or buckets. On a foreign endpoint the environment names
// them: STILE_CONFORMANCE_ROLE (a role's ARN that the caller may assume and that may do all that the suite
// does), …_BUCKET, …_BUS, …_SIGN_KEY and …_MAC_KEY (ids of a P-256 and an HMAC_256 key).
package conformance_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/smithy-go"

	"github.com/stile-dev/stile/localstack/events"
	"github.com/stile-dev/stile/localstack/gate"
	"github.com/stile-dev/stile/localstack/iam"
	"github.com/stile-dev/stile/localstack/kms"
	"github.com/stile-dev/stile/localstack/resource"
	"github.com/stile-dev/stile/localstack/s3"
	"github.com/stile-dev/stile/localstack/sts"
)

var endpoint = flag.String("endpoint", "", "URL of the endpoint to test, or aws; the local AWS in this process without it")

// world is what every test finds.
type world struct {
	Endpoint string     // "" for AWS itself
	Config   aws.Config // credentials of the role below
	RoleARN  string
	Bucket   string
	Bus      string
	SignKey  string
	MacKey   string
	Names    map[string]string // what plugs have named, such as tables
}

// local is the account that this process serves.
type local struct {
	Dir       string // for state; removed in the end
	Authority *iam.Authority
	World     *world
}

// plug adds a service to the local account. Its Serve opens the service, provisions what its tests use and
// gives a function that closes it; its Name is what a foreign endpoint's environment gives in place of that.
type plug struct {
	Env   []string // STILE_CONFORMANCE_<…> that fill World.Names on a foreign endpoint
	Serve func(*local) (gate.Service, func() error, error)
}

// plugs is the registry: a file of this package appends to it in its init function.
var plugs []plug

// here is the world under test.
var here *world

func TestMain(m *testing.M) {
	flag.Parse()
	status, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "conformance:", err)
		status = 1
	}
	os.Exit(status)
}

func run(m *testing.M) (status int, err error) {
	if *endpoint != "" {
		here, err = foreign()
		if err != nil {
			return 1, err
		}
		return m.Run(), nil
	}
	dir, err := os.MkdirTemp("", "conformance")
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	w, stop, err := serve(dir)
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	here = w
	return m.Run(), nil
}

// foreign reads the world from the environment.
func foreign() (*world, error) {
	c, err := config.LoadDefaultConfig(context.Background())
	if err != nil {
		return nil, err
	}
	w := &world{Config: c, Names: map[string]string{}}
	if *endpoint != "aws" {
		w.Endpoint = *endpoint
	}
	var missing []string
	read := func(name string) string {
		v := os.Getenv("STILE_CONFORMANCE_" + name)
		if v == "" {
			missing = append(missing, "STILE_CONFORMANCE_"+name)
		}
		return v
	}
	w.RoleARN, w.Bucket, w.Bus = read("ROLE"), read("BUCKET"), read("BUS")
	w.SignKey, w.MacKey = read("SIGN_KEY"), read("MAC_KEY")
	for _, p := range plugs {
		for _, name := range p.Env {
			w.Names[name] = read(name)
		}
	}
	if missing != nil {
		return nil, fmt.Errorf("set %s to what the account at %s has for the tests", strings.Join(missing, ", "), *endpoint)
	}
	return w, nil
}

const (
	account = "111122223333"
	region  = "us-east-1"
)

// serve starts the local account on loopback.
func serve(dir string) (*world, func() error, error) {
	a, err := iam.Open(iam.Config{Dir: filepath.Join(dir, "iam"), Account: account, Region: region})
	if err != nil {
		return nil, nil, err
	}
	l := &local{Dir: dir, Authority: a, World: &world{Names: map[string]string{}}}
	if err := l.login(); err != nil {
		return nil, nil, err
	}
	closers := []func() error{a.Close}
	var services []gate.Service
	for _, p := range append([]plug{{Serve: serveKMS}, {Serve: serveS3}, {Serve: serveEvents}}, plugs...) {
		s, closer, err := p.Serve(l)
		if err != nil {
			return nil, nil, err
		}
		services, closers = append(services, s), append(closers, closer)
	}
	g, err := gate.New(gate.Config{Authority: a, Services: append(services, sts.New())})
	if err != nil {
		return nil, nil, err
	}
	server := httptest.NewServer(g)
	l.World.Endpoint = server.URL
	return l.World, func() error {
		server.Close()
		var errs []error
		for _, closer := range slices.Backward(closers) {
			errs = append(errs, closer())
		}
		return errors.Join(errs...)
	}, nil
}

// login makes the role that the suite runs as, and a session of it.
func (l *local) login() error {
	role, err := l.Authority.PutRole(iam.Role{
		Name: "conformance", Path: "/suite/", Tags: map[string]string{"team": "payments"},
		Trust:  json.RawMessage(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::` + account + `:root"},"Action":"sts:AssumeRole"}}`),
		Inline: map[string]iam.Inline{"all": {Document: json.RawMessage(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`)}},
	})
	if err != nil {
		return err
	}
	c, err := l.Authority.Mint(role.ARN, "suite", time.Hour)
	if err != nil {
		return err
	}
	l.World.RoleARN = role.ARN
	l.World.Config = aws.Config{Region: region, Credentials: credentials.NewStaticCredentialsProvider(c.AccessKeyID, c.SecretAccessKey, c.SessionToken)}
	return nil
}

func provision(p resource.Provider, id, kind string, properties map[string]any) (string, error) {
	out, err := p.Provision(resource.Resource{Stack: "conformance", LogicalID: id, Type: kind, Properties: properties})
	return out.Ref, err
}

func serveKMS(l *local) (gate.Service, func() error, error) {
	s, err := kms.Open(kms.Config{Dir: filepath.Join(l.Dir, "kms"), Authority: l.Authority})
	if err != nil {
		return nil, nil, err
	}
	if l.World.SignKey, err = provision(s, "Sign", "AWS::KMS::Key", map[string]any{"KeySpec": "ECC_NIST_P256", "KeyUsage": "SIGN_VERIFY"}); err != nil {
		return nil, nil, err
	}
	l.World.MacKey, err = provision(s, "Mac", "AWS::KMS::Key", map[string]any{"KeySpec": "HMAC_256", "KeyUsage": "GENERATE_VERIFY_MAC"})
	return s, s.Close, err
}

func serveS3(l *local) (gate.Service, func() error, error) {
	s, err := s3.Open(s3.Config{Dir: filepath.Join(l.Dir, "s3"), Authority: l.Authority})
	if err != nil {
		return nil, nil, err
	}
	l.World.Bucket, err = provision(s, "Bucket", "AWS::S3::Bucket", map[string]any{"VersioningConfiguration": map[string]any{"Status": "Enabled"}})
	return s, s.Close, err
}

func serveEvents(l *local) (gate.Service, func() error, error) {
	s, err := events.Open(events.Config{Dir: filepath.Join(l.Dir, "events"), Authority: l.Authority})
	if err != nil {
		return nil, nil, err
	}
	l.World.Bus, err = provision(s, "Bus", "AWS::Events::EventBus", map[string]any{"Name": "suite"})
	return s, s.Close, err
}

// base is the endpoint for a service's raw requests.
func (w *world) base(service string) string {
	if w.Endpoint != "" {
		return w.Endpoint
	}
	return "https://" + service + "." + w.Config.Region + ".amazonaws.com"
}

// raw is a request that a test builds, signs and perhaps spoils.
type raw struct {
	Method  string
	Service string
	Path    string // "/" when empty
	Host    string // signed Host in place of the dialled one
	Header  map[string]string
	Body    string
	Time    time.Time // of the signature; now when zero
	Region  string    // of the credential scope
	Spoil   func(*http.Request)
	As      *aws.Credentials // in place of the suite's
}

// answer is what came back.
type answer struct {
	Status int
	Header http.Header
	Body   string
}

// send signs and sends; Spoil runs between.
func (r raw) send(t *testing.T) answer {
	t.Helper()
	if r.Path == "" {
		r.Path = "/"
	}
	request, err := http.NewRequestWithContext(t.Context(), r.Method, here.base(r.Service)+r.Path, strings.NewReader(r.Body))
	if err != nil {
		t.Fatal(err)
	}
	request.Host = r.Host
	for k, v := range r.Header {
		request.Header.Set(k, v)
	}
	sum := sha256.Sum256([]byte(r.Body))
	hash := hex.EncodeToString(sum[:])
	if given := request.Header.Get("X-Amz-Content-Sha256"); given != "" {
		hash = given
	} else if r.Service == "s3" {
		request.Header.Set("X-Amz-Content-Sha256", hash)
	}
	r.sign(t, request, hash)
	if r.Spoil != nil {
		r.Spoil(request)
	}
	return do(t, request)
}

func (r raw) sign(t *testing.T, request *http.Request, hash string) {
	t.Helper()
	c, err := here.Config.Credentials.Retrieve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if r.As != nil {
		c = *r.As
	}
	if r.Time.IsZero() {
		r.Time = time.Now()
	}
	if r.Region == "" {
		r.Region = here.Config.Region
	}
	signer := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = r.Service == "s3" })
	if err := signer.SignHTTP(t.Context(), c, request, hash, r.Service, r.Region, r.Time); err != nil {
		t.Fatal(err)
	}
}

func do(t *testing.T, request *http.Request) answer {
	t.Helper()
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	var body bytes.Buffer
	if _, err := io.Copy(&body, response.Body); err != nil {
		t.Fatal(err)
	}
	return answer{response.StatusCode, response.Header, body.String()}
}

// wantCode demands an API error of that code.
func wantCode(t *testing.T, err error, code string) {
	t.Helper()
	api, ok := errors.AsType[smithy.APIError](err)
	if !ok || api.ErrorCode() != code {
		t.Errorf("got error %v, want code %s", err, code)
	}
}
