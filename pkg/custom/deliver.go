package custom

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

const (
	tries   = 5
	attempt = 3 * time.Second // bounds one try
	pause   = 200 * time.Millisecond
)

// refused is an answer of the URL that another try won't change.
type refused struct{ status int }

func (r refused) Error() string { return fmt.Sprintf("the URL answered with status %d", r.status) }

// deliver puts an answer to a presigned URL, and tries again with growing pauses. Its errors don't contain the URL: it is a
// credential.
func deliver(ctx context.Context, to string, body []byte) error {
	var err error
	for try := range tries {
		if try > 0 {
			select {
			case <-ctx.Done():
				return fmt.Errorf("%w (%w)", err, context.Cause(ctx))
			case <-time.After(pause << try):
			}
		}
		if err = put(ctx, to, body); err == nil {
			return nil
		}
		if r, ok := errors.AsType[refused](err); ok && r.status < 500 && r.status != http.StatusTooManyRequests && r.status != http.StatusRequestTimeout {
			return err
		}
	}
	return err
}

// client follows no redirect: the answer is for the one place that the event named.
var client = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}

func put(ctx context.Context, to string, body []byte) error {
	ctx, cancel := context.WithTimeout(ctx, attempt)
	defer cancel()
	// The signature is over an empty Content-Type, so that none may be sent.
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, to, bytes.NewReader(body))
	if err != nil {
		return bare(err)
	}
	res, err := client.Do(req)
	if err != nil {
		return bare(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return refused{res.StatusCode}
	}
	return nil
}

// bare takes the URL out of an error of net/http.
func bare(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}
