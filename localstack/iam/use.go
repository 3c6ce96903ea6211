package iam

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// UsesFile is the file in [Config].Dir that says what was used of all that roles are allowed, one [Record] a line. IAM shows
// the same as the date on which an action was last accessed. An authority that is opened again goes on in it and may repeat lines.
const UsesFile = "uses.jsonl"

// Record is a line of the file.
type Record struct {
	At time.Time // of the first time
	Use
}

// Use is an allow of a role's policies without which a call would have been denied.
type Use struct {
	Role     string // its name
	Sid      string
	Action   string // as the policy has it
	Resource string // as the policy has it: of several that meet the call, the first
	Value    string // of a condition on a key with several values, such as dynamodb:LeadingKeys, one that was met; else ""
}

// usage appends to the file what it hasn't seen.
type usage struct {
	mu    sync.Mutex
	file  *os.File
	now   func() time.Time
	seen  map[Use]bool
	fault error
}

func openUses(dir string, now func() time.Time) (*usage, error) {
	f, err := os.OpenFile(filepath.Join(dir, UsesFile), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the list of uses: %w", err)
	}
	return &usage{file: f, now: now, seen: map[Use]bool{}}, nil
}

func (u *usage) add(all []Use) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, use := range all {
		if u.seen[use] || u.fault != nil {
			continue
		}
		line, err := json.Marshal(Record{u.now().UTC(), use})
		if err == nil {
			_, err = u.file.Write(append(line, '\n'))
		}
		u.seen[use], u.fault = true, err
	}
}

// close tells what kept the list from being whole.
func (u *usage) close() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	return errors.Join(u.fault, u.file.Close())
}

// used lists what of the statement met the query.
func (j judge) used(s *Statement) []Use {
	use := Use{Role: strings.TrimPrefix(j.who.RoleARN[strings.LastIndex(j.who.RoleARN, ":")+1:], "role/"), Sid: s.Sid}
	for _, a := range s.actions.values {
		if likeAction(a, j.query.Action) {
			use.Action = a
			break
		}
	}
	for _, r := range s.resources.values {
		if p, ok := r.expand(j.context); ok && j.resourceIs(p) {
			use.Resource = r.plain()
			break
		}
	}
	var out []Use
	for _, c := range s.clauses {
		for _, value := range c.met(j.context) {
			one := use
			one.Value = value
			out = append(out, one)
		}
	}
	if out == nil {
		out = []Use{use}
	}
	return out
}

// met lists the values of a clause on a key with several values that the context meets.
func (c clause) met(ctx condition) (out []string) {
	if c.quantifier == single {
		return nil
	}
	for _, o := range c.values {
		for _, v := range ctx.get(c.key) {
			if c.operator.match(o, v, ctx) {
				out = append(out, o.raw)
				break
			}
		}
	}
	return out
}
