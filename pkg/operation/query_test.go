package operation_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/query"
	"github.com/stile-dev/stile/pkg/wire"
)

// pool is a lake that has no query but starts any.
type pool struct{ query.Lake }

func (*pool) Take(_ context.Context, _ string, _, _, now time.Time) (time.Time, error) {
	return now, nil
}

func (*pool) Start(context.Context, string, []string, string) (string, error) { return "q", nil }

func (*pool) Look(context.Context, string) (query.Run, error) {
	return query.Run{}, fault.New(fault.NotFound, "there is none", "ask")
}

func (*pool) Keep(context.Context, string) error { return nil }

func (*pool) Read(_ context.Context, sum string) (string, error) {
	return "", fault.Newf(fault.NotFound, "ask", "there is nothing under %s", sum)
}

func (*pool) Known(context.Context, time.Time) (time.Time, []wire.LakeGap, error) {
	return time.Time{}, nil, nil
}

func (*pool) Count(context.Context, string, time.Time) error { return nil }

func TestAQuestionIsReadStrictly(t *testing.T) {
	s := newSite(t)
	start := wire.Route{Pattern: "/v1/audit/queries"}
	for body, want := range map[string]int{
		`{"sql":"SELECT 1"}`: http.StatusOK, `{"name":"denied"}`: http.StatusOK, `{"name":"denials"}`: http.StatusNotFound,
		`{"sql":"SELECT 1","query":"x"}`: http.StatusBadRequest, `{"sql":"DROP TABLE events"}`: http.StatusBadRequest, `{"since":"yesterday","sql":"SELECT 1"}`: http.StatusBadRequest,
		`{}`: http.StatusBadRequest, `{"sql":1}`: http.StatusBadRequest,
	} {
		if status, p, _ := s.call(s.user("carol", "auditor"), http.MethodPost, concrete(start), body); status != want {
			t.Errorf("%s: %d %+v, want %d", body, status, p, want)
		}
	}
}
