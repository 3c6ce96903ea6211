// Package sts sends the rebuilt sts:GetCallerIdentity request of a login or join and reads the answer.
//
// Where the request goes and what it says comes from package proof's table alone; the configured endpoint
// changes only which address is dialled, as in the AWS SDK. Its entry point is [New].
package sts

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/proof"
	"github.com/stile-dev/stile/pkg/resource"
)

const (
	timeout   = 5 * time.Second // for all attempts together
	maxAnswer = 64 << 10
	attempts  = 2 // STS fails rarely and briefly; the request may be repeated
)

// Config says how STS is reached.
type Config struct {
	Endpoint  string            // URL that is dialled instead of STS's own, "" for that: the value of AWS_ENDPOINT_URL_STS or AWS_ENDPOINT_URL
	Transport http.RoundTripper // nil: net/http's
}

// Client asks STS who signed a request. It may be used by several goroutines.
type Client struct {
	http     *http.Client
	endpoint *url.URL
}

// New makes a client.
func New(c Config) (*Client, error) {
	cl := &Client{http: &http.Client{
		Transport: c.Transport, Timeout: timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	if c.Endpoint == "" {
		return cl, nil
	}
	u, err := url.Parse(c.Endpoint)
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("reading the STS endpoint: %q is not a URL", c.Endpoint)
	}
	cl.endpoint = u
	return cl, nil
}

// Caller sends the request and returns the role whose session signed it. What STS refuses is a fault.
func (c *Client) Caller(ctx context.Context, r proof.Request) (resource.IAMIdentity, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var err error
	for range attempts {
		var a answer
		if a, err = c.send(ctx, r); err == nil {
			return a.caller(r.Partition)
		}
		if !fault.Is(err, fault.Unavailable) || ctx.Err() != nil {
			break
		}
	}
	return resource.IAMIdentity{}, err
}

func (c *Client) send(ctx context.Context, r proof.Request) (answer, error) {
	req, err := c.request(ctx, r)
	if err != nil {
		return answer{}, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return answer{}, unavailable(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return answer{}, unavailable(err)
	}
	return read(resp, body)
}

func (c *Client) request(ctx context.Context, r proof.Request) (*http.Request, error) {
	target := "https://" + r.Host + proof.Path
	if c.endpoint != nil {
		target = c.endpoint.Scheme + "://" + c.endpoint.Host + proof.Path
	}
	req, err := http.NewRequestWithContext(ctx, proof.Method, target, strings.NewReader(proof.Body))
	if err != nil {
		return nil, fmt.Errorf("making the STS request: %w", err)
	}
	req.Host = r.Host
	for _, h := range r.Headers {
		req.Header.Set(h.Name, h.Value)
	}
	req.Header.Set("User-Agent", "stile")
	return req, nil
}

// answer is STS's JSON.
type answer struct {
	Response struct {
		Result struct {
			Account string `json:"Account"`
			Arn     string `json:"Arn"`
			UserID  string `json:"UserId"`
		} `json:"GetCallerIdentityResult"`
	} `json:"GetCallerIdentityResponse"`
}

func (a answer) caller(partition string) (resource.IAMIdentity, error) {
	r := a.Response.Result
	caller, err := proof.ParseCaller(r.Account, r.Arn, r.UserID)
	if err != nil {
		return resource.IAMIdentity{}, err
	}
	if caller.Partition != partition {
		return resource.IAMIdentity{}, fault.New(fault.Unauthenticated, "AWS's answer names a partition other than the Region's", "set AWS_REGION to a Region of the identity's partition")
	}
	return caller, nil
}

func read(resp *http.Response, body []byte) (answer, error) {
	if len(body) > maxAnswer {
		return answer{}, odd(fmt.Sprintf("more than %d bytes", maxAnswer))
	}
	if resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests {
		return answer{}, unavailable(fmt.Errorf("status %d", resp.StatusCode))
	}
	if kind, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type")); err != nil || kind != proof.Accept {
		return answer{}, odd(fmt.Sprintf("status %d and no JSON", resp.StatusCode))
	}
	if resp.StatusCode != http.StatusOK {
		return answer{}, refusal(body)
	}
	var a answer
	dec := json.NewDecoder(bytes.NewReader(body))
	if err := dec.Decode(&a); err != nil || dec.More() {
		return answer{}, odd("JSON that can't be read")
	}
	return a, nil
}

// refusal names STS's error code, which says whether the credentials are expired, wrong or not for this Region.
func refusal(body []byte) error {
	var e struct {
		Error struct {
			Code string `json:"Code"`
		} `json:"Error"`
	}
	if err := json.Unmarshal(body, &e); err != nil || !plain(e.Error.Code) {
		return odd("a refusal that can't be read")
	}
	return fault.Newf(fault.Unauthenticated, "log in to AWS again and try again", "AWS does not accept the signed identity request: %s", e.Error.Code)
}

func plain(code string) bool {
	return code != "" && len(code) <= 64 && strings.Trim(code, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz.") == ""
}

func odd(what string) error {
	return fault.New(fault.Unauthenticated, "AWS's answer about this identity is not usable: "+what, "try again; check AWS_REGION")
}

func unavailable(cause error) error {
	return fault.New(fault.Unavailable, "AWS STS does not answer", "try again in a few seconds").Because(cause)
}
