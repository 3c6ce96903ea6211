package client

import (
	"encoding/json"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/wire"
)

// refusal turns an answer other than 200 into a fault: a problem document into what it says, others by their status.
func (c *Client) refusal(res *http.Response, answer []byte) error {
	f := problem(res, answer)
	if f == nil {
		f = c.foreign(res)
	}
	if f.RetryAfter == 0 {
		if s, err := strconv.Atoi(res.Header.Get("Retry-After")); err == nil && s > 0 {
			f.RetryAfter = time.Duration(s) * time.Second
		}
	}
	return f
}

// problem decodes an RFC 9457 document; nil when the answer is not one, or has a code that we don't know.
func problem(res *http.Response, answer []byte) *fault.Fault {
	kind, _, err := mime.ParseMediaType(res.Header.Get("Content-Type"))
	if err != nil || kind != "application/problem+json" {
		return nil
	}
	var p wire.Problem
	if json.Unmarshal(answer, &p) != nil || !fault.Code(p.Code).Known() {
		return nil
	}
	f := fault.New(fault.Code(p.Code), p.Detail, p.Hint)
	f.DecisionID = p.DecisionID
	f.RetryAfter = time.Duration(p.RetryAfter) * time.Second
	for _, field := range p.Fields {
		f.With(field.Path, field.Reason)
	}
	if p.RequestID != "" && f.Code == fault.Internal {
		f.Hint = "give request id " + p.RequestID + " to your administrator"
	}
	return f
}

// foreign explains an answer that Stile's functions didn't write: the gateway's, or another server's.
func (c *Client) foreign(res *http.Response) *fault.Fault {
	const wrongURL = "check the API's URL, which must end with its stage"
	switch s := res.StatusCode; {
	case s == http.StatusTooManyRequests:
		return fault.New(fault.RateLimited, "the API is getting too many requests", "try again in a few seconds")
	case s == http.StatusRequestEntityTooLarge:
		return fault.New(fault.TooLarge, "the request is too large for the API", "make it smaller; the API accepts up to 64 KiB")
	case s >= 500:
		return fault.Newf(fault.Unavailable, "try again in a few seconds", "the API at %s answered %d", c.base.Host, s)
	case s >= 300 && s < 400:
		return fault.Newf(fault.Unreachable, wrongURL, "the API at %s answered with a redirect, which is not followed", c.base.Host)
	case s == http.StatusForbidden || s == http.StatusNotFound:
		return fault.Newf(fault.Unreachable, wrongURL, "there is no Stile API at %s", c.base.Redacted())
	}
	return fault.Newf(fault.Unreachable, wrongURL, "%s answered %d, but not as the Stile API does", c.base.Host, res.StatusCode)
}

func escaped(segments []string) []string {
	out := make([]string, len(segments))
	for i, s := range segments {
		out[i] = url.PathEscape(s)
	}
	return out
}
