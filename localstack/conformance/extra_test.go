package conformance_test

import (
	"context"
	"net/url"
	"sync"
	"testing"
	"time"
)

// extra is the outputs of the stack of what the local AWS has nothing of. It is made once, on AWS alone.
func extra(t *testing.T) map[string]string {
	t.Helper()
	outputs, err := extraOnce()
	if err != nil {
		t.Fatal(err)
	}
	return outputs
}

var extraOnce = sync.OnceValues(func() (map[string]string, error) {
	given := here.code()
	given["Bus"] = here.Bus
	return here.Stacks.Deploy(context.Background(), "extra", given)
})

// elsewhere sends requests to another stage, once it answers at all.
func elsewhere(t *testing.T, at string) func(ask) answer {
	t.Helper()
	u, err := url.Parse(at)
	if err != nil {
		t.Fatal(err)
	}
	a := &api{Host: u.Host, Stage: u.Path, TLS: here.API.TLS}
	send := func(r ask) answer {
		got, err := a.send(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	await(t, 2*time.Minute, "stage "+at, func(context.Context) (bool, error) {
		got := send(request("GET", "/"))
		return got.Header.Get("X-Amzn-Requestid") != "", nil
	})
	return send
}
