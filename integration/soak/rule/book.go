// Package rule judges what a soak run saw: each rule has a name, is counted, and can be broken.
//
// It starts nothing, waits for nothing and reads no clock: what happened comes as values. Its entry point is [Book].
package rule

import (
	"fmt"
	"sync"
	"time"
)

// Name names a rule by what holds while it is kept.
type Name string

// The rules, in the order of the report.
const (
	LetIn     Name = "who is allowed is let in"
	Right     Name = "answers and copies are right"
	Prompt    Name = "a revocation ends the user's sessions in time"
	LockedOut Name = "who was revoked is never let in again"
	Expired   Name = "who has expired is never let in"
	InForce   Name = "a changed role is in force in time"
	LiveOn    Name = "the sessions of others live on"
	Recovery  Name = "after a trouble everything comes back"
	Journal   Name = "every session has one start and one end in the ledger"
	Leak      Name = "memory and open files stay"
	Goroutine Name = "goroutines come back"
	Leftover  Name = "nothing of an ended session is left"
	Disk      Name = "state directories and spools stay small"
	Log       Name = "logs hold no panic and no unexplained error"
	Again     Name = "everything starts again and still works"
	Gone      Name = "nothing runs after the end"
)

// Names are all rules. A whole run tries each of them.
var Names = []Name{
	LetIn, Right, Prompt, LockedOut, Expired, InForce, LiveOn, Recovery,
	Journal, Leak, Goroutine, Leftover, Disk, Log, Again, Gone,
}

// mostExamples is how many breaches of a rule are kept word by word.
const mostExamples = 5

// Count is how often a rule was tried, and how that went.
type Count struct {
	Held, Excused, Broken int
	Examples              []string // the first breaches
}

// Book counts, rule by rule. The zero Book is ready, and safe for concurrent use.
type Book struct {
	Tell func(name Name, breach string) // told of the first breaches of each rule; nil is nobody

	mu     sync.Mutex
	counts map[Name]*Count
}

func (b *Book) change(name Name, change func(*Count)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.counts == nil {
		b.counts = map[Name]*Count{}
	}
	if b.counts[name] == nil {
		b.counts[name] = &Count{}
	}
	change(b.counts[name])
}

// Held notes that a rule was kept once.
func (b *Book) Held(name Name) { b.change(name, func(c *Count) { c.Held++ }) }

// Excused notes what a trouble explains.
func (b *Book) Excused(name Name) { b.change(name, func(c *Count) { c.Excused++ }) }

// Broken notes a breach, at the time.
func (b *Book) Broken(name Name, at time.Time, format string, args ...any) {
	b.change(name, func(c *Count) {
		c.Broken++
		if len(c.Examples) >= mostExamples {
			return
		}
		text := at.UTC().Format("15:04:05.000 ") + fmt.Sprintf(format, args...)
		c.Examples = append(c.Examples, text)
		if b.Tell != nil {
			b.Tell(name, text)
		}
	})
}

// Judge notes that a rule was kept, or why not.
func (b *Book) Judge(name Name, at time.Time, fault string) {
	if fault == "" {
		b.Held(name)
		return
	}
	b.Broken(name, at, "%s", fault)
}

// Of returns what was counted for a rule.
func (b *Book) Of(name Name) Count {
	b.mu.Lock()
	defer b.mu.Unlock()
	if c := b.counts[name]; c != nil {
		return *c
	}
	return Count{}
}

// Breaches returns how many breaches there were of all rules.
func (b *Book) Breaches() (sum int) {
	for _, name := range Names {
		sum += b.Of(name).Broken
	}
	return sum
}

// Untried returns the rules that nothing was held against. A run that leaves one out has not shown that it holds.
func (b *Book) Untried() (list []Name) {
	for _, name := range Names {
		if c := b.Of(name); c.Held+c.Broken == 0 {
			list = append(list, name)
		}
	}
	return list
}
