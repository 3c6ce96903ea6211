package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/stile-dev/stile/pkg/client"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/wire"
)

// fetching is how long an object of a recording may take, 2 MiB at most.
const fetching = 2 * time.Minute

// archive has the objects of recordings: the API says where they are, and S3 has them.
type archive struct {
	client *client.Client
	http   *http.Client
}

func (s session) archive() archive {
	return archive{client: s.client, http: &http.Client{
		Timeout:       fetching,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Objects returns a page of a recording's objects.
func (a archive) Objects(ctx context.Context, session, cursor string) (wire.RecordingObjects, error) {
	return a.client.ReadRecording(ctx, session, cursor)
}

// Fetch reads an object of at most so many bytes.
func (a archive) Fetch(ctx context.Context, o wire.RecordingObject, most int64) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, o.URL, nil)
	if err != nil {
		return nil, fault.New(fault.Internal, "the API's answer names no place where the recording is", "update stile or the control plane")
	}
	answer, err := a.http.Do(r)
	if err != nil {
		if failed, ok := errors.AsType[*url.Error](err); ok {
			err = failed.Err // the URL is a permission to read
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fault.Newf(fault.Unreachable, "check the network: recordings are read from S3 itself", "S3 at %s can't be reached", r.URL.Host).Because(err)
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		return nil, fault.Newf(fault.Unavailable, "try again; if it happens again, check the deployment's role recording-reader and its key", "S3 answered %d for %.64s", answer.StatusCode, o.Name)
	}
	b, err := io.ReadAll(io.LimitReader(answer.Body, most+1))
	if err == nil && int64(len(b)) > most {
		err = fmt.Errorf("%.64s has more than %d bytes", o.Name, most)
	}
	return b, err
}
