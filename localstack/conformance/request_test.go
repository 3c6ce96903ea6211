package conformance_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/smithy-go"
)

// web is for requests that no client of the SDK makes.
var web = &http.Client{Timeout: callLimit}

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
	response, err := web.Do(request)
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

// call makes one call of a service that speaks AWS's JSON protocol, as the suite's role.
func call(ctx context.Context, service, target string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, here.base(service)+"/", bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/x-amz-json-1.0")
	request.Header.Set("X-Amz-Target", target)
	c, err := here.Config.Credentials.Retrieve(ctx)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(body)
	if err := v4.NewSigner().SignHTTP(ctx, c, request, hex.EncodeToString(sum[:]), service, here.Config.Region, time.Now()); err != nil {
		return err
	}
	response, err := web.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	raw, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", target, response.Status, raw)
	}
	if err == nil && out != nil {
		err = json.Unmarshal(raw, out)
	}
	return err
}

// api is where a REST API answers.
type api struct {
	Host  string // with a port unless it is 443
	Stage string // "/prod"
	TLS   *tls.Config
}

// ask is a request whose bytes a test decides. Path stands in the request line as it is, behind the stage.
type ask struct {
	Method, Path string
	Header       []string // lines
	Body         string
}

func request(method, path string, header ...string) ask { return ask{method, path, header, ""} }

// send writes the request on a connection of its own, because a client would clean it up.
func (a *api) send(ctx context.Context, r ask) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	address := a.Host
	if _, _, err := net.SplitHostPort(address); err != nil {
		address = net.JoinHostPort(a.Host, "443")
	}
	settings := a.TLS.Clone()
	if settings == nil {
		settings = &tls.Config{}
	}
	settings.NextProtos = []string{"http/1.1"}
	conn, err := (&tls.Dialer{Config: settings}).DialContext(ctx, "tcp", address)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = conn.Close() }()
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return answer{}, err
	}
	var text strings.Builder
	fmt.Fprintf(&text, "%s %s%s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n", r.Method, a.Stage, r.Path, a.Host)
	for _, line := range r.Header {
		text.WriteString(line + "\r\n")
	}
	if r.Body != "" {
		fmt.Fprintf(&text, "Content-Length: %d\r\n", len(r.Body))
	}
	text.WriteString("\r\n" + r.Body)
	_, unsent := io.WriteString(conn, text.String()) // who refuses a request need not read all of it
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return answer{}, errors.Join(unsent, err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	return answer{response.StatusCode, response.Header, string(body)}, err
}
