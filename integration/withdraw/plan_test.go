package main

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stile-dev/stile/integration/stand"
)

func TestAnAllowIsTriedByTheTestsThatUsedItFirst(t *testing.T) {
	const events = `{"Time":"2026-01-01T00:00:10Z","Action":"run","Test":"TestA"}
{"Time":"2026-01-01T00:00:11Z","Action":"run","Test":"TestA/part"}
{"Time":"2026-01-01T00:00:20Z","Action":"pass","Test":"TestA"}
{"Time":"2026-01-01T00:00:20Z","Action":"run","Test":"TestB"}
`
	at := func(second int) time.Time { return time.Date(2026, 1, 1, 0, 0, second, 0, time.UTC) }
	use := func(second int, sid, value string) stand.Use {
		return stand.Use{At: at(second), Role: "r", Sid: sid, Action: "a:B", Value: value}
	}
	got, err := plan([]byte(events), []stand.Use{
		use(25, "Late", ""), use(12, "Both", "x"), use(20, "Both", "y"), use(5, "Start", "x"), use(15, "Start", "y"),
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []trial{
		{stand.Allow{Role: "r", Sid: "Both", Action: "a:B"}, []string{"TestA", "TestB"}},
		{stand.Allow{Role: "r", Sid: "Late", Action: "a:B"}, []string{"TestB"}},
		{stand.Allow{Role: "r", Sid: "Start", Action: "a:B"}, nil},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(trial{})); diff != "" {
		t.Errorf("trials (-want +got):\n%s", diff)
	}
	if _, err := plan(nil, nil); err == nil {
		t.Error("a run without tests was taken for one")
	}
}
