package main

import (
	"bytes"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stile-dev/stile/localstack/account"
	"github.com/stile-dev/stile/localstack/ecs"
)

func TestCountsAreParsedAndBounded(t *testing.T) {
	for _, c := range []struct {
		proxies, agents string
		want            scale
		refusal         string
	}{
		{"", "", scale{}, ""},
		{"3", "5", scale{3, 5}, ""},
		{"", "50", scale{0, 50}, ""},
		{"0", "", scale{}, `"0" is not a number of proxies that can run here; choose 1 to 3, as in make up PROXIES=3`},
		{"4", "", scale{}, "choose 1 to 3"},
		{"-1", "", scale{}, "choose 1 to 3"},
		{"two", "", scale{}, `"two" is not a number of proxies`},
		{"1", "51", scale{}, `"51" is not a number of agents that can run here; choose 1 to 50, as in make up AGENTS=50`},
		{"1", "1.5", scale{}, "choose 1 to 50"},
		{"1", " 2", scale{}, "choose 1 to 50"},
	} {
		got, err := parseScale(c.proxies, c.agents)
		if c.refusal == "" && (err != nil || got != c.want) {
			t.Errorf("PROXIES=%q AGENTS=%q gives %+v, %v; want %+v", c.proxies, c.agents, got, err, c.want)
		}
		if c.refusal != "" && (err == nil || !strings.Contains(err.Error(), c.refusal)) {
			t.Errorf("PROXIES=%q AGENTS=%q: error %v, want one with %q", c.proxies, c.agents, err, c.refusal)
		}
	}
}

func TestTheUsageNamesTheBounds(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), []string{"up", "--help"}, &out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"-proxies N  how many proxies run, 1 to " + strconv.Itoa(ecs.MaxTasks) + "\n", "node-1 to node-N, 1 to " + strconv.Itoa(account.MaxCopies) + "\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, out.String())
		}
	}
}

func TestBadCountsStartNothing(t *testing.T) {
	state := t.TempDir()
	err := run(t.Context(), []string{"up", "-root", t.TempDir(), "-state", state, "-proxies", "9"}, &bytes.Buffer{})
	if err == nil || !strings.Contains(err.Error(), "PROXIES=3") {
		t.Errorf("error %v", err)
	}
	if entries, err := os.ReadDir(state); err != nil || len(entries) != 0 {
		t.Errorf("%v, the state directory holds %v", err, entries)
	}
}

func TestWhatIsNotAskedStaysAsItWasAskedLast(t *testing.T) {
	p := repository(t)
	if err := p.create(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ asked, want scale }{
		{scale{}, scale{1, 1}},
		{scale{Agents: 5}, scale{1, 5}},
		{scale{Proxies: 3}, scale{3, 5}},
		{scale{}, scale{3, 5}},
		{scale{1, 2}, scale{1, 2}},
	} {
		u, err := newUp(p, c.asked)
		if err != nil {
			t.Fatal(err)
		}
		if u.scale != c.want || len(u.account.Agents) != c.want.Agents {
			t.Errorf("asked for %+v: %+v with %v; want %+v", c.asked, u.scale, u.names(), c.want)
		}
		if got, err := p.loadScale(); err != nil || got != c.want {
			t.Errorf("after %+v the state remembers %+v, %v", c.asked, got, err)
		}
	}
	if err := os.WriteFile(p.scalePath(), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := newUp(p, scale{}); err == nil || !strings.Contains(err.Error(), "remove "+p.scalePath()) {
		t.Errorf("error %v", err)
	}
}

func TestCountsThatCannotBeAreNotRemembered(t *testing.T) {
	p := repository(t)
	if err := p.create(); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(p.account())
	if err == nil {
		err = os.WriteFile(p.account(), bytes.Replace(raw, []byte("  - name: node-1"), []byte("  - name: bastion"), 1), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := newUp(p, scale{Agents: 2}); err == nil || !strings.Contains(err.Error(), "bastion") {
		t.Errorf("error %v", err)
	}
	if u, err := newUp(p, scale{}); err != nil || u.scale != (scale{1, 1}) {
		t.Errorf("%v, %+v", err, u)
	}
}

func TestASummaryOfManyNodesIsShort(t *testing.T) {
	p := repository(t)
	if err := p.create(); err != nil {
		t.Fatal(err)
	}
	for agents, want := range map[int]string{1: "node-1", 3: "node-1 node-2 node-3", 50: "node-1 … node-50 (50)"} {
		u, err := newUp(p, scale{Agents: agents})
		if err != nil {
			t.Fatal(err)
		}
		if got := u.nodes(); got != want {
			t.Errorf("%d agents are %q, want %q", agents, got, want)
		}
	}
}

func TestUpScalesBothWaysAndKeepsWhatNeedNotChange(t *testing.T) {
	t.Setenv("STILE_PORTS", "auto")
	p := repository(t)
	up := func(asked scale) string {
		t.Helper()
		var out bytes.Buffer
		if err := up(t.Context(), p, asked, &out); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	runs := func(want ...string) {
		t.Helper()
		var names []string
		for _, r := range listed(t, p) {
			names = append(names, r.Name)
		}
		if diff := cmp.Diff(want, names); diff != "" {
			t.Error(diff)
		}
	}
	up(scale{})
	runs("localstack", "balancer", "stile-proxy-0", "node-1")
	proxy, agent := pidOf(t, p, "stile-proxy-0"), pidOf(t, p, "node-1")

	if said := up(scale{Proxies: 3, Agents: 2}); !strings.Contains(said, " (3 behind it)\n") || !strings.Contains(said, "  nodes  node-1 node-2\n") {
		t.Errorf("up said\n%s", said)
	}
	runs("localstack", "balancer", "stile-proxy-0", "stile-proxy-1", "stile-proxy-2", "node-1", "node-2")
	config, err := os.ReadFile(p.home("node-2") + "/copy.yaml")
	if err != nil || !strings.Contains(string(config), "name: node-2\n") || !strings.Contains(string(config), "state: "+p.home("node-2")+"/state\n") {
		t.Errorf("%v, configuration of node-2\n%s", err, config)
	}

	if said := up(scale{}); !strings.HasPrefix(said, "stile is already up\n") {
		t.Errorf("up said\n%s", said)
	}
	up(scale{Proxies: 2, Agents: 1})
	runs("localstack", "balancer", "stile-proxy-0", "stile-proxy-1", "node-1")
	if pidOf(t, p, "stile-proxy-0") != proxy || pidOf(t, p, "node-1") != agent {
		t.Error("a process was restarted though it stayed")
	}
}
