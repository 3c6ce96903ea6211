package integration_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stile-dev/stile/pkg/client"
)

// A flood of an open route costs what docs/cost.md says: no call of KMS for each request, and at most two writes.
func TestAFloodCallsNoKMS(t *testing.T) {
	s := apart(t)
	p := s.person(t, engineer)
	api, err := client.New(client.Config{URL: p.Env["STILE_API"], HTTP: p.api(t).http})
	if err != nil {
		t.Fatal(err)
	}
	const calls, side = 160, 8 // below the burst that the route admits
	var group sync.WaitGroup
	before := s.called(t, "/stile-login-")
	for range side {
		group.Go(func() {
			for range calls / side {
				_, _ = api.LoginChallenge(t.Context(), strings.Repeat("k", 43)) // most are refused by then
			}
		})
	}
	group.Wait()
	after := s.called(t, "/stile-login-")
	spent := func(operation string) int { return after[operation] - before[operation] }
	if n := spent("GenerateMac"); n > 4 { // one for each instance that a function may have here
		t.Errorf("%d calls of KMS for %d requests", n, calls)
	}
	if n := spent("UpdateItem"); n < calls/2 || n > 2*calls {
		t.Errorf("%d writes for %d requests, want one or two for each", n, calls)
	}
	for operation := range after {
		if n := spent(operation); n > 0 && operation != "GenerateMac" && operation != "UpdateItem" && operation != "Query" {
			t.Errorf("%d of %s, which no stranger should cause", n, operation)
		}
	}
}

// called counts the calls to the local AWS by the operations of principals whose ARN holds a text.
func (s *system) called(t *testing.T, principal string) map[string]int {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(s.State, "log/localstack.log"))
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]int{}
	for line := range strings.Lines(string(raw)) {
		var call struct{ Msg, Operation, Principal string }
		if json.Unmarshal([]byte(line), &call) == nil && call.Msg == "AWS call" && strings.Contains(call.Principal, principal) {
			counts[call.Operation]++
		}
	}
	return counts
}
