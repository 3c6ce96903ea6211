package issue_test

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/issue"
	"github.com/stile-dev/stile/pkg/resource"
)

// tables is a store in memory. When fail is set, the next call of that name fails with it: before it has
// written, or after, as when an answer is lost.
type tables struct {
	mu       sync.Mutex
	mappings []resource.Mapping
	roles    []resource.Role
	users    map[string]resource.User
	tokens   map[string]resource.Token

	used      map[string]bool
	intents   []issue.Intent
	concluded []issue.Conclusion
	claimed   []string // "certificate request"
	events    []audit.Event
	agents    map[string]issue.Admission
	copied    map[string]bool                 // agents
	targets   map[identity.Target]string      // → agent
	secrets   map[string]int                  // hash → uses left, of the token called secret
	held      map[identity.Target]string      // → quarantined agent
	places    map[string]map[string]time.Time // bound → agent → until when
	joined    map[string]string               // evidence and keys → agent
	lapses    map[string]time.Time            // hash → until when, if not for long

	meanwhile func() // what happens, once, after an agent's record was read

	calls     []string
	fail      string
	failure   error
	persisted bool
}

func newTables() *tables {
	return &tables{
		users: map[string]resource.User{}, tokens: map[string]resource.Token{}, used: map[string]bool{}, agents: map[string]issue.Admission{},
		targets: map[identity.Target]string{}, secrets: map[string]int{}, held: map[identity.Target]string{}, lapses: map[string]time.Time{},
		places: map[string]map[string]time.Time{}, joined: map[string]string{}, copied: map[string]bool{},
	}
}

// faulty runs do unless the call is to fail before it.
func (s *tables) faulty(call string, do func() error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, call)
	if s.fail != call {
		return do()
	}
	s.fail = ""
	if s.persisted {
		_ = do()
	}
	return s.failure
}

func (s *tables) Mappings(context.Context) (all []resource.Mapping, err error) {
	err = s.faulty("Mappings", func() error { all = s.mappings; return nil })
	return all, err
}

func (s *tables) Roles(context.Context) (all []resource.Role, err error) {
	err = s.faulty("Roles", func() error { all = s.roles; return nil })
	return all, err
}

func (s *tables) User(_ context.Context, name string) (u resource.User, found bool, err error) {
	err = s.faulty("User", func() error { u, found = s.users[name]; return nil })
	return u, found, err
}

func (s *tables) Token(_ context.Context, name string) (t resource.Token, found bool, err error) {
	err = s.faulty("Token", func() error { t, found = s.tokens[name]; return nil })
	return t, found, err
}

// lapse is when the secrets that the tests use expire.
var lapse = time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)

func (s *tables) HashedSecret(_ context.Context, hash string) (known issue.Secret, err error) {
	err = s.faulty("HashedSecret", func() error {
		if uses, there := s.secrets[hash]; there {
			known = issue.Secret{Token: "secret", Uses: uses, Expires: lapse}
		}
		if until, there := s.lapses[hash]; there {
			known.Expires = until
		}
		return nil
	})
	return known, err
}

func (s *tables) Joined(_ context.Context, key string, _ time.Time) (was issue.Joined, err error) {
	err = s.faulty("Joined", func() error {
		was.Agent = s.joined[key]
		if a, there := s.agents[was.Agent]; there {
			was.Host, was.Expires = a.Host, a.Expires
		}
		return nil
	})
	return was, err
}

func (s *tables) Intend(_ context.Context, i issue.Intent) error {
	return s.faulty("Intend", func() error {
		if s.used[i.Used] {
			return issue.ErrUsed
		}
		s.used[i.Used] = true
		s.intents = append(s.intents, i)
		return nil
	})
}

func (s *tables) Conclude(_ context.Context, c issue.Conclusion) error {
	return s.faulty("Conclude", func() error {
		if err := c.Event.Validate(); err != nil {
			return err
		}
		s.concluded, s.events = append(s.concluded, c), append(s.events, c.Event)
		return nil
	})
}

func (s *tables) Claim(ctx context.Context, certificate string, signed []issue.Signed) error {
	return s.faulty("Claim", func() error {
		for _, one := range signed {
			for _, id := range append(one.Requests, one.Doubtful...) {
				s.claimed = append(s.claimed, certificate+" "+id)
			}
		}
		return ctx.Err()
	})
}

func (s *tables) Record(_ context.Context, e audit.Event) error {
	return s.faulty("Record", func() error {
		if err := e.Validate(); err != nil {
			return err
		}
		s.events = append(s.events, e)
		return nil
	})
}

func (s *tables) Admit(_ context.Context, a issue.Admission) error {
	return s.faulty("Admit", func() error {
		if s.used[a.Intent.Used] {
			return issue.ErrUsed
		}
		if by := s.joined[a.Repeat]; by != "" && by != a.Stale {
			return issue.ErrJoining
		}
		if was, there := s.agents[a.Host.ID]; there != a.Renewal || there && (a.Same && was.Token != a.Token || !s.allows(a)) {
			return issue.ErrRecord
		}
		for _, b := range a.Bounds {
			_, own := s.places[b.Of][a.Host.ID]
			if len(s.places[b.Of]) >= b.Most && !own && !a.InForce {
				return &issue.FullError{Bound: b}
			}
		}
		for _, t := range a.Host.Targets {
			if holder, taken := s.targets[t]; taken && holder != a.Host.ID {
				return fmt.Errorf("admitting: %w", &issue.TakenError{Target: t})
			}
		}
		if a.Secret != "" {
			if s.secrets[a.Secret] < 1 {
				return issue.ErrSecret
			}
			s.secrets[a.Secret]--
		}
		for _, b := range a.Bounds {
			if s.places[b.Of] == nil {
				s.places[b.Of] = map[string]time.Time{}
			}
			s.places[b.Of][a.Host.ID] = a.Places
		}
		s.used[a.Intent.Used] = true
		s.agents[a.Host.ID] = a
		if a.Repeat != "" {
			s.joined[a.Repeat] = a.Host.ID
		}
		for _, t := range a.Host.Targets {
			s.targets[t] = a.Host.ID
		}
		for _, t := range a.Dropped {
			if s.targets[t] == a.Host.ID {
				delete(s.targets, t)
			}
		}
		s.intents = append(s.intents, a.Intent)
		if a.Unjudged != nil {
			s.events = append(s.events, a.Unjudged.Event)
			return a.Unjudged.Event.Validate()
		}
		return nil
	})
}

// allows reports whether an agent's record allows a renewal.
func (s *tables) allows(a issue.Admission) bool {
	r := s.record(a.Host.ID)
	if r.Epoch > a.Host.Versions.Trust.Epoch {
		return false
	}
	return r.Renews(a.Shown) && a.Unjudged == nil || a.Unjudged != nil && a.Unjudged.Record == r && !r.Copied
}

func (s *tables) record(id string) issue.Record {
	was, there := s.agents[id]
	if !there {
		return issue.Record{}
	}
	return issue.Record{ID: id, Token: was.Token, Certificate: was.Host.Certificate, Previous: was.Shown, Copied: s.copied[id], Epoch: was.Host.Versions.Trust.Epoch}
}

func (s *tables) Agent(_ context.Context, id string) (r issue.Record, err error) {
	err = s.faulty("Agent", func() error { r = s.record(id); return nil })
	if f := s.meanwhile; f != nil {
		s.meanwhile = nil
		f()
	}
	return r, err
}

// backup returns what puts an agent's record back as it is now.
func (s *tables) backup(id string) (restore func()) {
	was, there := s.agents[id]
	copied := s.copied[id]
	return func() {
		delete(s.agents, id)
		if there {
			s.agents[id] = was
		}
		s.copied[id] = copied
	}
}

func (s *tables) Copied(_ context.Context, i issue.Intent, r issue.Record, e audit.Event) error {
	return s.faulty("Copied", func() error {
		if err := e.Validate(); err != nil {
			return err
		}
		switch {
		case s.used[i.Used]:
			return issue.ErrUsed
		case s.record(r.ID) != r:
			return issue.ErrRecord
		}
		s.used[i.Used], s.copied[r.ID] = true, true
		s.events = append(s.events, e)
		return nil
	})
}

func (s *tables) Quarantine(_ context.Context, a issue.Admission, taken identity.Target, e audit.Event) error {
	return s.faulty("Quarantine", func() error {
		if err := e.Validate(); err != nil {
			return err
		}
		if s.used[a.Intent.Used] {
			return issue.ErrUsed
		}
		s.used[a.Intent.Used] = true
		s.held[taken] = a.Host.ID
		s.events = append(s.events, e)
		return nil
	})
}

// last returns the newest event.
func (s *tables) last() audit.Event {
	if len(s.events) == 0 {
		return audit.Event{}
	}
	return s.events[len(s.events)-1]
}

// contents is all that is kept, for a comparison.
func (s *tables) contents() string {
	return fmt.Sprint(s.used, s.intents, s.concluded, s.events, s.agents, s.targets, s.secrets, s.held, s.places, s.joined, s.copied)
}
