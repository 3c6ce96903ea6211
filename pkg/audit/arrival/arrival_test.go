package arrival_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stile-dev/stile/pkg/audit/arrival"
)

var at = time.Date(2026, 11, 20, 12, 0, 0, 5e6, time.UTC)

const partition = "event#function/admin#2026-11-20#3"

func TestAnArrivalIsTheEventWithWhatTheLedgerSaysOfIt(t *testing.T) {
	a, err := arrival.Of(partition, "01receipt", `{"id":"x", "source":"function/admin","writer":"agent","receipt":"forged","received":1,"later":{"a":[1]},"reason":"a < b"}`, at.UnixMilli())
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"id":"x","later":{"a":[1]},"reason":"a < b","receipt":"01receipt","received":"2026-11-20T12:00:00.005Z","source":"function/admin","writer":"function/admin"}`
	for range 2 { // the first changes nothing
		if raw, err := a.JSON(); err != nil || string(raw) != want {
			t.Errorf("%s, %v", raw, err)
		}
	}
	if a.Event.ID != "x" || a.Writer != "function/admin" || a.Receipt != "01receipt" || !a.Received.Equal(at) {
		t.Errorf("%+v", a)
	}
}

func TestWhatIsNoEventOfItsWritersHasNoPlaceInTheLake(t *testing.T) {
	const good = `{"id":"x","source":"function/admin"}`
	for what, c := range map[string]struct{ pk, sk, body, want string }{
		"another's name":  {partition, "r", `{"id":"x","source":"function/sign-user"}`, "says that it is of function/sign-user"},
		"an agent's name": {partition, "r", `{"id":"x","source":"agent/agt_1"}`, "says that it is of agent/agt_1"},
		"no event's key":  {"issuance#crt_1", "r", good, "it is of issuance"},
		"upper case":      {partition, "r", `{"id":"x","source":"function/admin","Actor":"user/eve"}`, `a field "Actor"`},
		"another letter":  {partition, "r", `{"id":"x","source":"function/admin","actor\u017f":"user/eve"}`, "a field"},
		"no JSON":         {partition, "r", `{`, "reading an audit event"},
		"too long":        {partition, "r", `{"id":"` + strings.Repeat("x", 16<<10) + `"}`, "at most 16384"},
		"a long type":     {partition, "r", `{"source":"function/admin","type":"` + strings.Repeat("x", 129) + `"}`, "its type has 129 bytes"},
		"a long key":      {partition, strings.Repeat("x", 65), good, "its sort key has 65 bytes"},
	} {
		if _, err := arrival.Of(c.pk, c.sk, c.body, at.UnixMilli()); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := arrival.Of(partition, strings.Repeat("x", 64), good, at.UnixMilli()); err != nil {
		t.Error(err)
	}
}
