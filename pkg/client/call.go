package client

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/signature"
)

// skewWorthCuring is the smallest clock difference that is worth a second attempt.
const skewWorthCuring = 5 * time.Second

// operation is one call: where, with what, and whether signed.
type operation struct {
	method string
	path   []string // segments below the base, escaped here
	query  map[string][]string
	body   any // nil: none
	signed bool
}

// call makes the request, decodes the answer into out (a pointer) and turns refusals into faults. A refusal
// that the server's clock explains is tried once more with that clock, under the same nonce.
func (c *Client) call(ctx context.Context, op operation, out any) error {
	if op.signed && c.key == nil {
		return fault.New(fault.Unauthenticated, "not logged in", "run: stile login --iam")
	}
	body, err := encode(op.body)
	if err != nil {
		return err
	}
	id := nonce()
	res, answer, err := c.once(ctx, op, body, id)
	if err != nil {
		return err
	}
	if c.learnSkew(res) && op.signed && res.StatusCode == http.StatusUnauthorized {
		if res, answer, err = c.once(ctx, op, body, id); err != nil {
			return err
		}
	}
	if res.StatusCode != http.StatusOK {
		return c.refusal(res, answer)
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return fault.Newf(fault.Unreachable, "check the API's URL: something other than the Stile API is answering there",
			"%s answered, but not as the Stile API does", c.base.Host).Because(err)
	}
	return nil
}

func encode(body any) ([]byte, error) {
	if body == nil {
		return nil, nil
	}
	b, err := json.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("encoding the request: %w", err)
	}
	if len(b) > maxRequest {
		return nil, fault.Newf(fault.TooLarge, "make it smaller; the API accepts up to 64 KiB", "the request is %d bytes long", len(b))
	}
	return b, nil
}

// once sends one request and reads its answer whole, up to the cap.
func (c *Client) once(ctx context.Context, op operation, body []byte, nonce string) (*http.Response, []byte, error) {
	at := c.base.JoinPath(escaped(op.path)...)
	var err error
	if at.RawQuery, err = signature.Query(op.query); err != nil {
		return nil, nil, fmt.Errorf("building the request: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, op.method, at.String(), bytes.NewReader(body))
	if err != nil {
		return nil, nil, fmt.Errorf("building the request: %w", err)
	}
	req.Header.Set("Accept", "application/json, application/problem+json")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if op.signed {
		if err := c.sign(req, body, nonce); err != nil {
			return nil, nil, err
		}
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, nil, c.transportFault(ctx, err)
	}
	defer func() { _ = res.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxResponse+1))
	if err != nil {
		return nil, nil, c.transportFault(ctx, err)
	}
	if len(answer) > maxResponse {
		return nil, nil, fault.Newf(fault.Unreachable, "check the API's URL: something other than the Stile API is answering there",
			"the answer from %s is larger than 6 MiB", c.base.Host)
	}
	return res, answer, nil
}

// sign adds the certificate and the signature's headers.
func (c *Client) sign(req *http.Request, body []byte, nonce string) error {
	req.Header.Set(names.HeaderCertificate, base64.StdEncoding.EncodeToString(c.cert))
	created := c.Now().Truncate(time.Second)
	headers, err := signature.Sign(signature.Message{
		Method: req.Method, Authority: req.URL.Host, Path: req.URL.EscapedPath(), Query: req.URL.RawQuery,
		Header: req.Header.Values, Body: body,
	}, c.key, signature.Params{Created: created, Nonce: nonce, KeyID: c.keyID})
	if err != nil {
		return fmt.Errorf("signing the request: %w", err)
	}
	for name, value := range headers {
		req.Header.Set(name, value)
	}
	return nil
}

// Now returns the server's time, as far as its answers told it; before the first answer it is this machine's.
func (c *Client) Now() time.Time { return c.now().Add(time.Duration(c.skew.Load())) }

// learnSkew compares the client's clock with the server's Date, which counts whole seconds; it reports
// whether that set the clock to another time.
func (c *Client) learnSkew(res *http.Response) bool {
	date, err := http.ParseTime(res.Header.Get("Date"))
	if err != nil {
		return false
	}
	if date.Sub(c.Now()).Abs() < skewWorthCuring {
		return false
	}
	c.skew.Store(int64(date.Sub(c.now())))
	return true
}
