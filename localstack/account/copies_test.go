package account_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stile-dev/stile/localstack/account"
)

// shipped is account.yaml as it is committed.
func shipped(t *testing.T) *account.Account {
	t.Helper()
	a, err := account.Load("../account.yaml", vars)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func names(a *account.Account) (list []string) {
	for _, g := range a.Agents {
		list = append(list, g.Name)
	}
	return list
}

func TestCopiesDifferInWhatTellsThemApartAndInNothingElse(t *testing.T) {
	a, first := shipped(t), shipped(t).Agents[0]
	if err := a.SetCopies(account.MaxCopies); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(first, a.Agents[0]); diff != "" {
		t.Errorf("the first one changed: %s", diff)
	}
	instance := regexp.MustCompile(`^i-[0-9a-f]{17}$`)
	sessions := map[string]bool{}
	for i, g := range a.Agents {
		name := fmt.Sprintf("node-%d", i+1)
		if g.Name != name || g.Config["name"] != name || g.Config["state"] != "/tmp/state/home/"+name+"/state" {
			t.Errorf("agent %d is %s with %v", i+1, g.Name, g.Config)
		}
		if sessions[g.Session] || !instance.MatchString(g.Session) {
			t.Errorf("%s has the session %s", name, g.Session)
		}
		sessions[g.Session] = true
		g.Name, g.Session, g.Config["name"], g.Config["state"] = first.Name, first.Session, first.Config["name"], first.Config["state"]
		if diff := cmp.Diff(first, g); diff != "" {
			t.Errorf("%s is not like the first one: %s", name, diff)
		}
	}
	if len(a.Agents) != account.MaxCopies {
		t.Errorf("%d agents", len(a.Agents))
	}
}

func TestAgentsThatTheFileListsStayBesideTheCopies(t *testing.T) {
	a := shipped(t)
	a.Agents = append(a.Agents, account.Agent{Name: "web", Role: "web", Session: "i-1"})
	if err := a.SetCopies(3); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"node-1", "node-2", "node-3", "web"}, names(a)); diff != "" {
		t.Error(diff)
	}
	if left := a.Surplus(); len(left) != account.MaxCopies-3 || left[0] != "node-4" {
		t.Errorf("left out are %v", left)
	}
}

func TestOneAgentMayHaveAnyNameAndAnyState(t *testing.T) {
	a := shipped(t)
	a.Agents[0].Name, a.Agents[0].Config["state"] = "bastion", "/srv/state"
	if err := a.SetCopies(1); err != nil || len(a.Agents) != 1 || len(a.Surplus()) != 0 {
		t.Errorf("%v, agents %v, left out %v", err, names(a), a.Surplus())
	}
}

func TestTheStateDirectoryMayLieBelowTheNodesName(t *testing.T) {
	a := shipped(t)
	a.Agents[0].Config["state"] = "/srv/node-1/home/node-1"
	if err := a.SetCopies(2); err != nil || a.Agents[1].Config["state"] != "/srv/node-1/home/node-2" {
		t.Errorf("%v, %+v", err, a.Agents)
	}
}

func TestCopiesAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		n      int
		change func(a *account.Account)
		want   string
	}{
		"none":                           {0, func(*account.Account) {}, "only 1 to 50"},
		"too many":                       {account.MaxCopies + 1, func(*account.Account) {}, "only 1 to 50"},
		"of nobody":                      {2, func(a *account.Account) { a.Agents = nil }, "lists none"},
		"of a name without its number":   {2, func(a *account.Account) { a.Agents[0].Name = "bastion" }, `agents[0].name: "bastion" does not end with -1`},
		"that would share their state":   {2, func(a *account.Account) { a.Agents[0].Config["state"] = "/srv/state" }, "agents[0].config.state"},
		"without a state directory":      {2, func(a *account.Account) { delete(a.Agents[0].Config, "state") }, "agents[0].config.state"},
		"with the session of the first":  {2, func(a *account.Account) { a.Agents[0].Session = "i-0123456789abcde02" }, "node-2 has another agent's name or session"},
		"with the name of a listed node": {2, func(a *account.Account) { a.Agents = append(a.Agents, account.Agent{Name: "node-2"}) }, "node-2 has another agent's name or session"},
	} {
		t.Run(name, func(t *testing.T) {
			a := shipped(t)
			c.change(a)
			if err := a.SetCopies(c.n); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
}
