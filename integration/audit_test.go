package integration_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stile-dev/stile/pkg/audit"
)

// listed is an event as --format json has it.
type listed struct {
	audit.Event
	Received time.Time `json:"received"`
	Standing string    `json:"standing"`
	Why      string    `json:"why"`
}

// events runs stile audit ls.
func (p *person) events(t *testing.T, args ...string) (all []listed) {
	t.Helper()
	p.reads(t, &all, append([]string{"audit", "ls", "--format", "json"}, args...)...)
	return all
}

// reads runs stile and decodes the JSON that it prints.
func (p *person) reads(t *testing.T, into any, args ...string) {
	t.Helper()
	if err := json.Unmarshal([]byte(p.must(t, args...)), into); err != nil {
		t.Fatal(err)
	}
}

// Whoever follows sees an act once, soon after it, and so does whoever lists afterwards.
func TestWhatHappensIsFollowedAndListed(t *testing.T) {
	boss, p := shared.person(t, admin).login(t), shared.person(t, engineer).login(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	follow := boss.Command(ctx, "stile", "audit", "ls", "--follow", "--format", "ndjson", "--since", "1s", "--type", "session", "--actor", "alice")
	out, err := follow.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := follow.Start(); err != nil {
		t.Fatal(err)
	}
	id := strings.TrimSpace(p.must(t, "ssh", "node-1", "--", `echo "$STILE_SESSION_ID"`))
	p.run(t, nil, "ssh", "nobody@node-1", "--", "true").refused(t, 255, "decision: dec_")
	var followed []string
	wanted := func(e listed) bool {
		return e.SessionID == id || e.Type == audit.SessionDenied && strings.Contains(e.Reason, "nobody")
	}
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for len(followed) < 3 && lines.Scan() {
		var e listed
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			t.Fatal(err)
		}
		if !wanted(e) {
			continue
		}
		if e.Standing != "proven" || slices.Contains(followed, e.ID) {
			t.Errorf("%+v, after %v", e, followed)
		}
		followed = append(followed, e.ID)
	}
	if len(followed) < 3 {
		t.Fatalf("only %v were followed: %v", followed, lines.Err())
	}
	if err := follow.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	_ = follow.Wait()

	var again []string
	last := time.Time{}
	for _, e := range boss.events(t, "--since", "5m", "--type", "session.start,session.end,session.denied", "--actor", "user/alice", "--target", "node-1") {
		if e.Received.Before(last) {
			t.Errorf("%s was received before the one listed before it", e.ID)
		}
		if last = e.Received; wanted(e) && slices.Contains(followed, e.ID) {
			again = append(again, e.ID)
		}
	}
	slices.Sort(followed)
	slices.Sort(again)
	if !slices.Equal(followed, again) {
		t.Errorf("followed %v, listed %v", followed, again)
	}
	for _, e := range boss.events(t, "--since", "5m", "--outcome", "denied") {
		if e.Outcome != audit.Denied {
			t.Errorf("%+v", e)
		}
	}
	var chain []audit.Type
	for _, e := range boss.events(t, "--session", id) {
		chain = append(chain, e.Type)
	}
	if !slices.Contains(chain, audit.SessionStart) || !slices.Contains(chain, audit.SessionEnd) {
		t.Errorf("the session has %v", chain)
	}
}

func TestPeopleListWhatTheyDidAndNothingElse(t *testing.T) {
	p := shared.person(t, engineer).login(t)
	p.must(t, "ssh", "node-1", "--", "true")
	eventually(t, 20*time.Second, func() string {
		if all := p.events(t, "--since", "1m", "--type", "session.start"); len(all) == 0 {
			return "no start of theirs is listed"
		}
		return ""
	})
	for _, e := range p.events(t, "--since", "31d") {
		if e.Actor != "user/alice" {
			t.Errorf("%s of %s is listed", e.Type, e.Actor)
		}
	}
	if all := p.events(t, "--since", "31d", "--type", "policy"); len(all) != 0 {
		t.Errorf("policies: %+v", all)
	}
	r := p.run(t, nil, "audit", "ls", "--since", "90d", "--type", "resource")
	if r.status != 0 || r.out != "" || !strings.Contains(r.err, "30 days") || !strings.Contains(r.err, "0 events, of what was received from ") {
		t.Errorf("%+v", r)
	}
	r = p.run(t, nil, "audit", "ls", "--until", "24h")
	_, window, _ := strings.Cut(strings.TrimSpace(r.err), "received from ")
	from, to, _ := strings.Cut(window, " to ")
	began, err := time.Parse(time.DateTime, from)
	ended, err2 := time.Parse(time.DateTime, to)
	if r.status != 0 || err != nil || err2 != nil || ended.Sub(began) != time.Hour {
		t.Errorf("of the hour before --until: %+v", r)
	}
	for arg, want := range map[string]string{"--type=session.begun": "session.begun", "--outcome=ok": "success, failure or denied", "--target=/x": "kind and a name", "--since=tomorrow": "--since"} {
		p.run(t, nil, "audit", "ls", arg).refused(t, 2, want)
	}
	if text := p.must(t, "audit", "ls", "--since", "1m", "--type", "session.start"); !strings.Contains(text, "  proven  ") || !strings.Contains(text, fmt.Sprintf("%s  success  user/alice  node/node-1", "session.start     ")) {
		t.Errorf("as text:\n%s", text)
	}
}
