// Package issuance writes what signers do: intents, single uses, signatures, and what an agent was admitted as.
//
// It decides nothing; its conditions are the rules of package issue. Its entry point is [New].
package issuance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/issue"
	"github.com/stile-dev/stile/pkg/ledger"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/resource"
	"github.com/stile-dev/stile/pkg/store"
	"github.com/stile-dev/stile/pkg/table"
)

// Store is the tables for signers.
type Store struct {
	*store.Store
	Ledger   *ledger.Ledger
	Function string // the signer's name
}

// New makes a store for the signer of a name.
func New(c store.Config, function string) *Store {
	return &Store{store.New(c), ledger.New(ledger.Config{DynamoDB: c.DynamoDB, Table: c.Ledger}), function}
}

// Record writes events alone.
func (s *Store) Record(ctx context.Context, e audit.Event) error { return s.Ledger.Append(ctx, e) }

// How long the marks of single use and of issuance stay. A challenge is valid for a minute; the mark outlives
// any doubt about clocks.
const (
	usedFor     = 24 * time.Hour
	issuanceFor = 400 * 24 * time.Hour // longer than CloudTrail's own record can be searched
)

// Intend writes intent and single use in one transaction.
func (s *Store) Intend(ctx context.Context, i issue.Intent) error {
	err := table.Transact(ctx, s.API, s.used(i), s.intent(i))
	return store.Conditions(err, issue.ErrUsed)
}

func (s *Store) used(i issue.Intent) table.Op {
	return s.Secrets.CreateOp(table.Item{
		names.PK: table.String(names.Used + "#" + i.Used), names.SK: table.String(names.Used),
		"certificate": table.String(i.Certificate), names.Expires: table.Int(i.At.Add(usedFor).Unix()),
	})
}

func (s *Store) intent(i issue.Intent) table.Op {
	return s.Ledger.Table().CreateOp(table.Item{
		names.PK: table.String(names.Issuance + "#" + i.Certificate), names.SK: table.String("intent"),
		"subject": table.String(i.Subject), "digest": table.String(i.Digest), "at_ms": table.Int(i.At.UnixMilli()),
		names.Expires: table.Int(i.At.Add(issuanceFor).Unix()),
	})
}

// Conclude writes signatures, the claims of them and the event in one transaction.
func (s *Store) Conclude(ctx context.Context, c issue.Conclusion) error {
	var ops []table.Op
	for _, signed := range c.Signed {
		requests, err := json.Marshal(signed.Requests)
		if err != nil {
			return fmt.Errorf("writing the signatures of %s: %w", c.Certificate, err)
		}
		ops = append(ops, s.Ledger.Table().CreateOp(table.Item{
			names.PK: table.String(names.Issuance + "#" + c.Certificate), names.SK: table.String("signed#" + signed.Purpose),
			"digest": table.String(signed.Digest), "kms_requests": table.String(string(requests)),
			"at_ms": table.Int(c.Event.Time.UnixMilli()), names.Expires: table.Int(c.Event.Time.Add(issuanceFor).Unix()),
		}))
	}
	for _, claim := range s.claims(c.Certificate, c.Signed) {
		ops = append(ops, s.Ledger.ClaimOps(claim)...)
	}
	event, err := s.Ledger.Ops(c.Event)
	if err != nil {
		return err
	}
	return table.Transact(ctx, s.API, append(ops, event...)...)
}

// Claim writes the claims of signatures that came to nothing.
func (s *Store) Claim(ctx context.Context, certificate string, signed []issue.Signed) error {
	return s.Ledger.Claim(ctx, s.claims(certificate, signed)...)
}

func (s *Store) claims(certificate string, signed []issue.Signed) (all []ledger.Claim) {
	for _, one := range signed {
		all = append(all, ledger.Claim{Function: s.Function, Of: certificate, Requests: one.Requests, Doubtful: one.Doubtful})
	}
	return all
}

// HashedSecret returns what is known of a token's secret by its hash; the zero value when there is none.
func (s *Store) HashedSecret(ctx context.Context, hash string) (issue.Secret, error) {
	item, err := s.Secrets.Get(ctx, secretKey(hash))
	if errors.Is(err, table.ErrNotFound) {
		return issue.Secret{}, nil
	}
	if err != nil {
		return issue.Secret{}, err
	}
	return issue.Secret{Token: item.Text("token_name"), Uses: int(item.Int("uses_left")), Expires: time.UnixMilli(item.Int("expires_ms"))}, nil
}

func secretKey(hash string) table.Key {
	return table.Key{PK: names.TokenHash + "#" + hash, SK: names.Token}
}

// Admit writes intent, single use, the agent's record, its claims of targets, the use of a secret and the agent's places in
// one transaction, and frees what a renewal no longer claims. The conditions are the rules: a challenge once, a target
// for one agent, a renewal only of an agent that is still there, a secret only while it has uses left, a place for one agent.
func (s *Store) Admit(ctx context.Context, a issue.Admission) error {
	for range picks {
		err := s.admit(ctx, a)
		if others, ok := errors.AsType[*othersError](err); ok {
			a.Dropped = slices.DeleteFunc(slices.Clone(a.Dropped), func(t identity.Target) bool { return t == others.target })
			continue
		}
		if !errors.Is(err, errPicked) {
			return err
		}
	}
	return fault.New(fault.Conflict, "many agents are joining by the same token at once", "try again in a few seconds").Because(errPicked)
}

// othersError says that what an agent drops belongs to another agent by now, and is left alone.
type othersError struct{ target identity.Target }

func (e *othersError) Error() string { return e.target.String() + " belongs to another agent" }

func (s *Store) admit(ctx context.Context, a issue.Admission) error {
	ops := []table.Op{s.used(a.Intent), s.intent(a.Intent)}
	meaning := []error{issue.ErrUsed, nil}
	add := func(op table.Op, err error) { ops, meaning = append(ops, op), append(meaning, err) }

	places, err := s.places(ctx, a)
	if err != nil {
		return err
	}
	agent, err := agentItem(a, active)
	if err != nil {
		return err
	}
	agent["places"] = table.String(store.Listed(places))
	if a.Repeat != "" {
		add(s.joined(a), issue.ErrJoining)
	}
	if a.Renewal {
		add(s.renew(agent, a), issue.ErrRecord)
	} else {
		add(s.State.CreateOp(agent), nil)
	}
	for _, t := range a.Host.Targets {
		item, err := targetItem(t, a)
		if err != nil {
			return err
		}
		add(s.State.PutOp(item, "attribute_not_exists(pk) OR held_by = :agent", table.Item{":agent": table.String(a.Host.ID)}), &issue.TakenError{Target: t})
	}
	for _, t := range a.Dropped {
		add(s.Release(t, a.Host.ID), &othersError{t})
	}
	if a.Secret != "" {
		add(s.Secrets.UpdateOp(secretKey(a.Secret), "SET uses_left = uses_left - :one",
			"token_name = :name AND uses_left > :zero AND expires_ms > :now", table.Item{
				":one": table.Int(1), ":zero": table.Int(0), ":name": table.String(a.Host.Token), ":now": table.Int(a.Intent.At.UnixMilli()),
			}), issue.ErrSecret)
	}
	for _, p := range places {
		add(s.take(p, a), errPicked)
	}
	if a.Unjudged != nil {
		event, err := s.Ledger.Ops(a.Unjudged.Event)
		if err != nil {
			return err
		}
		ops = append(ops, event...)
	}
	return store.Conditions(table.Transact(ctx, s.API, ops...), meaning...)
}

// Quarantine writes single use, the claim of a target that is taken, and its event in one transaction. There is one
// such claim for a target, the newest: an agent that tries again and again fills no table.
func (s *Store) Quarantine(ctx context.Context, a issue.Admission, taken identity.Target, e audit.Event) error {
	item, err := agentItem(a, "quarantined")
	if err != nil {
		return err
	}
	item[names.SK] = table.String(store.Quarantined(taken))
	item["claimed_by"] = table.String(a.Host.ID)
	event, err := s.Ledger.Ops(e)
	if err != nil {
		return err
	}
	return store.Conditions(table.Transact(ctx, s.API, append([]table.Op{s.used(a.Intent), s.State.PutOp(item, "", nil)}, event...)...), issue.ErrUsed)
}

func agentItem(a issue.Admission, state string) (table.Item, error) {
	host, err := a.Host.Marshal()
	if err != nil {
		return nil, fmt.Errorf("writing the record of %s: %w", a.Host.ID, err)
	}
	item := table.Item{
		names.PK: table.String(names.Agent), names.SK: table.String(a.Host.ID), standing: table.String(state), certificate: table.String(a.Host.Certificate),
		epoch: table.Int(a.Host.Versions.Trust.Epoch), "identity": table.String(string(host)), "updated_ms": table.Int(a.Intent.At.UnixMilli()), "expires_ms": table.Int(a.Expires.UnixMilli()),
	}
	if a.Token != "" {
		item[store.TokenUID] = table.String(a.Token)
	}
	if a.Shown != "" {
		item[previous] = table.String(a.Shown)
	}
	return item, nil
}

// targetItem returns the resource that says who holds a target's name.
func targetItem(t identity.Target, a issue.Admission) (table.Item, error) {
	spec, err := targetSpec(a)
	if err != nil {
		return nil, err
	}
	return table.Item{
		names.PK: table.String(store.Partition(t.Kind)), names.SK: table.String(t.Name), "held_by": table.String(a.Host.ID),
		"scope": table.String(a.Host.Scope), "spec": table.String(spec), "updated_ms": table.Int(a.Intent.At.UnixMilli()),
		"revision": table.Int(a.Intent.At.UnixMilli()),
	}, nil
}

// targetSpec is the body of the resource of a target.
func targetSpec(a issue.Admission) (string, error) {
	b, err := json.Marshal(resource.TargetSpec{Agent: a.Host.ID, Labels: a.Host.Labels, Token: a.Host.Token, AWS: a.Host.AWS})
	if err != nil {
		return "", fmt.Errorf("writing the targets of %s: %w", a.Host.ID, err)
	}
	return string(b), nil
}
