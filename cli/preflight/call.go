package preflight

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

const (
	maxAnswer = 1 << 20 // bytes of one answer
	maxPages  = 50
	tries     = 3
)

// caller signs and sends the few calls that are needed. The services' clients of the SDK would make the program some
// times as large.
type caller struct {
	aws               aws.Config
	http              *http.Client
	now               func() time.Time
	wait              func(context.Context, int)
	at                map[string]string
	region, partition string
	suffix            string // of the partition's host names
}

func newCaller(c Config, partition, suffix string) caller {
	out := caller{c.AWS, c.HTTP, c.Now, c.Wait, c.At, c.AWS.Region, partition, suffix}
	if out.http == nil {
		out.http = &http.Client{Timeout: 15 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
	if out.now == nil {
		out.now = time.Now
	}
	if out.wait == nil {
		out.wait = func(ctx context.Context, try int) {
			select {
			case <-ctx.Done():
			case <-time.After(200 * time.Millisecond << try):
			}
		}
	}
	return out
}

// refusal is an error that a service answered.
type refusal struct {
	action  string // as IAM names it
	code    string
	message string
	status  int
}

// Error says which call was answered with what.
func (r *refusal) Error() string {
	return fmt.Sprintf("%s: %s (%d): %.300s", r.action, r.code, r.status, r.message)
}

func (r *refusal) denied() bool {
	return strings.Contains(r.code, "AccessDenied") || strings.Contains(r.code, "UnauthorizedOperation") || strings.Contains(r.code, "NotAuthorized")
}

func (r *refusal) passes() bool {
	return r.status >= 500 || r.status == http.StatusTooManyRequests || strings.Contains(r.code, "Throttl") ||
		strings.Contains(r.code, "TooManyRequests") || r.code == "RequestLimitExceeded"
}

// is reports whether a service answered with an error of the code.
func is(err error, code string) bool {
	r, ok := errors.AsType[*refusal](err)
	return ok && strings.Contains(r.code, code)
}

// json calls an operation of a service that takes JSON; target is its header's prefix.
func (c caller) json(ctx context.Context, service, target, operation string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	header := http.Header{"Content-Type": {"application/x-amz-json-1.1"}, "X-Amz-Target": {target + "." + operation}}
	raw, err := c.call(ctx, service, service+":"+operation, http.MethodPost, "/", header, body)
	return c.read(raw, err, service+":"+operation, json.Unmarshal, out)
}

// query calls an operation of a service that takes forms and answers XML.
func (c caller) query(ctx context.Context, service, version, operation string, form url.Values, out any) error {
	values := url.Values{"Action": {operation}, "Version": {version}}
	maps.Copy(values, form)
	header := http.Header{"Content-Type": {"application/x-www-form-urlencoded; charset=utf-8"}}
	raw, err := c.call(ctx, service, service+":"+operation, http.MethodPost, "/", header, []byte(values.Encode()))
	return c.read(raw, err, service+":"+operation, xml.Unmarshal, out)
}

// get reads a resource of a REST API.
func (c caller) get(ctx context.Context, service, action, path string, out any) error {
	raw, err := c.call(ctx, service, service+":"+action, http.MethodGet, path, http.Header{}, nil)
	return c.read(raw, err, service+":"+action, json.Unmarshal, out)
}

func (c caller) read(raw []byte, err error, action string, decode func([]byte, any) error, out any) error {
	if err != nil || out == nil {
		return err
	}
	if err := decode(raw, out); err != nil {
		return fmt.Errorf("reading the answer of %s: %w", action, err)
	}
	return nil
}

// call tries again what a service was too busy for.
func (c caller) call(ctx context.Context, service, action, method, path string, header http.Header, body []byte) ([]byte, error) {
	for try := 1; ; try++ {
		raw, err := c.once(ctx, service, action, method, path, header, body)
		r, answered := errors.AsType[*refusal](err)
		if err == nil || try == tries || answered && !r.passes() || ctx.Err() != nil {
			return raw, err
		}
		c.wait(ctx, try)
	}
}

func (c caller) once(ctx context.Context, service, action, method, path string, header http.Header, body []byte) ([]byte, error) {
	base, region := c.endpoint(service)
	req, err := http.NewRequestWithContext(ctx, method, base+path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("calling %s: %w", action, err)
	}
	req.Header = header.Clone()
	credentials, err := c.aws.Credentials.Retrieve(ctx)
	if err != nil {
		return nil, fmt.Errorf("finding the AWS credentials: %w", err)
	}
	sum := sha256.Sum256(body)
	if err := v4.NewSigner().SignHTTP(ctx, credentials, req, hex.EncodeToString(sum[:]), service, region, c.now()); err != nil {
		return nil, fmt.Errorf("signing %s: %w", action, err)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("calling %s: %w", action, err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("reading the answer of %s: %w", action, err)
	case len(raw) > maxAnswer:
		return nil, fmt.Errorf("reading the answer of %s: it is longer than %d bytes", action, maxAnswer)
	case res.StatusCode != http.StatusOK:
		return nil, refused(action, res, raw)
	}
	return raw, nil
}

// refused reads an error in each of the forms that services have.
func refused(action string, res *http.Response, raw []byte) *refusal {
	r := &refusal{action: action, status: res.StatusCode, code: res.Header.Get("X-Amzn-Errortype")}
	var j struct {
		Type, Message, Code string
		Type2               string `json:"__type"`
	}
	var x struct {
		Code    string `xml:"Error>Code"`
		Message string `xml:"Error>Message"`
	}
	var ec2 struct {
		Code    string `xml:"Errors>Error>Code"`
		Message string `xml:"Errors>Error>Message"`
	}
	if json.Unmarshal(raw, &j) == nil {
		r.code, r.message = first(r.code, j.Type2, j.Code), j.Message
	}
	if xml.Unmarshal(raw, &x) == nil {
		r.code, r.message = first(r.code, x.Code), first(r.message, x.Message)
	}
	if xml.Unmarshal(raw, &ec2) == nil {
		r.code, r.message = first(r.code, ec2.Code), first(r.message, ec2.Message)
	}
	if i := strings.LastIndexByte(r.code, '#'); i >= 0 {
		r.code = r.code[i+1:]
	}
	r.code, _, _ = strings.Cut(r.code, ":")
	r.code = first(r.code, "no code")
	return r
}

func first(all ...string) string {
	for _, s := range all {
		if s != "" {
			return s
		}
	}
	return ""
}

// global are the services with one endpoint for each partition, with the Region that signatures name.
var global = map[string]map[string][2]string{
	"iam": {
		"aws":        {"https://iam.amazonaws.com", "us-east-1"},
		"aws-cn":     {"https://iam.cn-north-1.amazonaws.com.cn", "cn-north-1"},
		"aws-us-gov": {"https://iam.us-gov.amazonaws.com", "us-gov-west-1"},
	},
}

// endpoint returns a service's address and the Region that signatures name.
func (c caller) endpoint(service string) (base, region string) {
	one, isGlobal := global[service][c.partition]
	region = c.region
	if isGlobal {
		region = one[1]
	}
	switch {
	case c.at[service] != "":
		return strings.TrimSuffix(c.at[service], "/"), region
	case c.aws.BaseEndpoint != nil:
		return strings.TrimSuffix(*c.aws.BaseEndpoint, "/"), region
	case isGlobal:
		return one[0], region
	}
	return "https://" + service + "." + c.region + "." + c.suffix, region
}
