package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/stile-dev/stile/localstack/account"
	"github.com/stile-dev/stile/localstack/ecs"
)

// scale is how many of each run, as kept in run/scale.json. In a request, 0 means that no number was given.
type scale struct {
	Proxies int `json:"proxies"`
	Agents  int `json:"agents"`
}

// parseScale returns what was asked for, from the numbers as they were typed; "" asks for nothing.
func parseScale(proxies, agents string) (scale, error) {
	p, err1 := parseCount("proxies", proxies, ecs.MaxTasks)
	a, err2 := parseCount("agents", agents, account.MaxCopies)
	return scale{p, a}, errors.Join(err1, err2)
}

func parseCount(what, text string, most int) (int, error) {
	if text == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > most {
		return 0, fmt.Errorf("%q is not a number of %s that can run here; choose 1 to %d, as in make up %s=%d", text, what, most, strings.ToUpper(what), most)
	}
	return n, nil
}

// or returns s, with the numbers of other where s has none.
func (s scale) or(other scale) scale {
	return scale{cmp.Or(s.Proxies, other.Proxies), cmp.Or(s.Agents, other.Agents)}
}

func (p place) scalePath() string { return filepath.Join(p.run(), "scale.json") }

// loadScale returns what was asked for last, or one of each.
func (p place) loadScale() (scale, error) {
	var s scale
	raw, err := os.ReadFile(p.scalePath())
	if errors.Is(err, fs.ErrNotExist) {
		return scale{1, 1}, nil
	}
	if err == nil {
		err = json.Unmarshal(raw, &s)
	}
	if err != nil {
		return scale{}, fmt.Errorf("reading how many run: %w; remove %s", err, p.scalePath())
	}
	return s.or(scale{1, 1}), nil
}

// saveScale remembers how many have to run, for serve and for the next up.
func (p place) saveScale(s scale) error {
	raw, err := json.Marshal(s)
	if err == nil {
		err = os.WriteFile(p.scalePath()+".new", append(raw, '\n'), 0o600)
	}
	if err == nil {
		err = os.Rename(p.scalePath()+".new", p.scalePath())
	}
	if err != nil {
		return fmt.Errorf("remembering how many run: %w", err)
	}
	return nil
}

// loadAccount returns account.yaml with as many agents as have to run.
func (p place) loadAccount(o *ports, s scale) (*account.Account, error) {
	a, err := account.Load(p.account(), p.variables(o))
	if err != nil {
		return nil, err
	}
	return a, a.SetCopies(s.Agents)
}
