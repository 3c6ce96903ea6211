package account

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// MaxCopies bounds how many of the first agent run on this one machine.
const MaxCopies = 50

// firstEnd is the end of the name of an agent that can be copied.
const firstEnd = "-1"

// SetCopies gives the account n agents like the first one, including itself: node-1, node-2 and so on, in the same role, each
// with its own session and state directory. What the file lists after the first one stays.
func (a *Account) SetCopies(n int) error {
	if n < 1 || n > MaxCopies {
		return fmt.Errorf("deriving agents: %d are wanted, but only 1 to %d can run here", n, MaxCopies)
	}
	if n == 1 {
		return nil
	}
	if len(a.Agents) == 0 {
		return fmt.Errorf("deriving agents: account.yaml lists none to derive %d from", n)
	}
	all := a.Agents[:1:1]
	for i := 2; i <= n; i++ {
		agent, err := a.Agents[0].copied(i)
		if err != nil {
			return fmt.Errorf("deriving agents: agents[0].%w", err)
		}
		all = append(all, agent)
	}
	a.Agents = append(all, a.Agents[1:]...)
	return a.distinct()
}

// Surplus returns the names that copies of the first agent would have beyond those that the account has now.
func (a *Account) Surplus() (names []string) {
	if len(a.Agents) == 0 {
		return nil
	}
	base, ok := strings.CutSuffix(a.Agents[0].Name, firstEnd)
	for i := 2; ok && i <= MaxCopies; i++ {
		name := base + "-" + strconv.Itoa(i)
		if !slices.ContainsFunc(a.Agents, func(g Agent) bool { return g.Name == name }) {
			names = append(names, name)
		}
	}
	return names
}

// copied returns the agent's i-th copy.
func (g Agent) copied(i int) (Agent, error) {
	base, ok := strings.CutSuffix(g.Name, firstEnd)
	if !ok {
		return Agent{}, fmt.Errorf("name: %q does not end with %s, so no further names can be derived from it", g.Name, firstEnd)
	}
	c := g
	c.Name = base + "-" + strconv.Itoa(i)
	c.Session = g.Session[:max(0, len(g.Session)-2)] + fmt.Sprintf("%02d", i) // an instance's id stays unique
	c.Config = maps.Clone(g.Config)
	c.Config["name"] = c.Name
	state, _ := g.Config["state"].(string)
	before, after, ok := cutLast(state+"/", "/"+g.Name+"/")
	if !ok {
		return Agent{}, fmt.Errorf("config.state: %q has no directory %s, so copies would share one", state, g.Name)
	}
	c.Config["state"] = strings.TrimSuffix(before+"/"+c.Name+"/"+after, "/")
	return c, nil
}

// cutLast returns what is before and after the last sep, as strings.Cut does for the first.
func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// distinct returns an error when two agents would be taken for one.
func (a *Account) distinct() error {
	names, sessions := map[string]bool{}, map[string]bool{}
	for _, g := range a.Agents {
		session := g.Role + "/" + g.Session
		if names[g.Name] || sessions[session] {
			return fmt.Errorf("deriving agents: %s has another agent's name or session", g.Name)
		}
		names[g.Name], sessions[session] = true, true
	}
	return nil
}
