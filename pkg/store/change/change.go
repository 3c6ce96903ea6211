// Package change writes what administrators do: one resource together with everything that changes with it.
//
// It decides nothing; its conditions are those of package resource. Its entry point is [New].
package change

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/stile-dev/stile/pkg/admin"
	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/ledger"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/resource"
	"github.com/stile-dev/stile/pkg/store"
	"github.com/stile-dev/stile/pkg/table"
)

// Store is the tables for administrators.
type Store struct {
	*store.Store
	Ledger *ledger.Ledger
}

// New makes a store.
func New(c store.Config) *Store {
	return &Store{store.New(c), ledger.New(ledger.Config{DynamoDB: c.DynamoDB, Table: c.Ledger})}
}

// Record writes events alone.
func (s *Store) Record(ctx context.Context, e audit.Event) error { return s.Ledger.Append(ctx, e) }

// nonceFor is how long a call's nonce is kept: the call itself is valid for at most two minutes.
const nonceFor = time.Hour

// Commit writes a change, the counters, the call's nonce and the event in one transaction.
func (s *Store) Commit(ctx context.Context, c admin.Change) error {
	ops := []table.Op{
		s.Secrets.CreateOp(table.Item{
			names.PK: table.String(names.Nonce + "#" + c.Nonce), names.SK: table.String(names.Nonce),
			names.Expires: table.Int(c.Event.Time.Add(nonceFor).Unix()),
		}),
	}
	change, err := s.change(ctx, c)
	if err != nil {
		return err
	}
	event, err := s.Ledger.Ops(c.Event)
	if err != nil {
		return err
	}
	ops = append(ops, change, s.count(c))
	ops = slices.Concat(ops, event, s.beside(c))
	vacated, err := s.vacate(ctx, c.ForgetAgent)
	if err != nil {
		return err
	}
	ops = append(ops, vacated...)
	err = store.Conditions(table.Transact(ctx, s.API, ops...), admin.ErrReplayed, admin.ErrMoved, admin.ErrRaced)
	if table.Conflicts(err) {
		return admin.ErrMoved // one of the other items is not as it was
	}
	return err
}

// count adds to the counters, on condition that nothing was changed since the change was judged. The number of orders was
// read with the counter of changes, and no change leaves that one as it is: if it still holds, both do.
func (s *Store) count(c admin.Change) table.Op {
	update := "ADD n :one"
	if c.Revoke != nil {
		update += ", orders :one"
	}
	if c.Counters.Input == 0 {
		return s.State.UpdateOp(store.KeyInput, update, "attribute_not_exists(n)", table.Item{":one": table.Int(1)})
	}
	return s.State.UpdateOp(store.KeyInput, update, "n = :judged", table.Item{":one": table.Int(1), ":judged": table.Int(c.Counters.Input)})
}

// change returns the operation on the resource itself, on condition that it is still as it was read.
func (s *Store) change(ctx context.Context, c admin.Change) (table.Op, error) {
	was := table.Item{":was": table.Int(c.Was)}
	if c.Delete {
		return s.State.DeleteOp(table.Key{PK: store.Partition(c.Resource.Kind), SK: c.Resource.Metadata.Name}, "revision = :was", was), nil
	}
	spec, err := c.Resource.SpecJSON()
	if err != nil {
		return table.Op{}, err
	}
	item := table.Item{
		names.PK: table.String(store.Partition(c.Resource.Kind)), names.SK: table.String(c.Resource.Metadata.Name),
		"scope": table.String(c.Resource.Metadata.Scope), "revision": table.Int(c.Resource.Metadata.Revision),
		"spec": table.String(string(spec)), "updated_ms": table.Int(c.Event.Time.UnixMilli()), "updated_by": table.String(c.Event.Actor),
	}
	if c.Secret != nil {
		item["secret_sha256"] = table.String(c.Secret.SHA256)
	}
	if c.Resource.Kind == names.Token {
		uid, err := s.uid(ctx, c)
		if err != nil {
			return table.Op{}, err
		}
		if uid != "" {
			item[store.TokenUID] = table.String(uid)
		}
	}
	if c.Was == 0 {
		return s.State.CreateOp(item), nil
	}
	return s.State.PutOp(item, "revision = :was", was), nil
}

// uid returns what tells a token from an earlier one of its name: it is new with the token, and stays through updates. That
// the token is not another by now is a condition of the change.
func (s *Store) uid(ctx context.Context, c admin.Change) (string, error) {
	if c.Was == 0 {
		return c.Event.ID, nil
	}
	item, err := s.State.Get(ctx, table.Key{PK: names.Token, SK: c.Resource.Metadata.Name})
	if errors.Is(err, table.ErrNotFound) {
		return "", admin.ErrMoved
	}
	return item.Text(store.TokenUID), err
}

// vacate frees the places of an agent that goes, those that it still holds.
func (s *Store) vacate(ctx context.Context, agent string) (ops []table.Op, err error) {
	if agent == "" {
		return nil, nil
	}
	record, err := s.State.Get(ctx, table.Key{PK: names.Agent, SK: agent})
	if errors.Is(err, table.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for _, p := range store.Places(record.Text("places")) {
		place, err := s.State.Get(ctx, p)
		switch {
		case errors.Is(err, table.ErrNotFound):
		case err != nil:
			return nil, err
		case place.Text("held_by") == agent:
			ops = append(ops, s.State.DeleteOp(p, "attribute_not_exists(pk) OR held_by = :agent", table.Item{":agent": table.String(agent)}))
		}
	}
	return ops, nil
}

// beside returns the items that come and go with a resource: a token's secret, the record of the agent that held
// a name, the order to revoke what was issued before.
func (s *Store) beside(c admin.Change) []table.Op {
	var ops []table.Op
	switch {
	case c.Secret != nil:
		ops = append(ops, s.Secrets.CreateOp(table.Item{
			names.PK: table.String(names.TokenHash + "#" + c.Secret.SHA256), names.SK: table.String(names.Token),
			"token_name": table.String(c.Resource.Metadata.Name), "uses_left": table.Int(c.Secret.Uses),
			"expires_ms": table.Int(c.Secret.Expires.UnixMilli()), names.Expires: table.Int(c.Secret.Expires.Add(time.Hour).Unix()),
		}))
	case c.ForgetSecret != "":
		ops = append(ops, s.Secrets.DeleteOp(table.Key{PK: names.TokenHash + "#" + c.ForgetSecret, SK: names.Token}, "", nil))
	}
	if c.ForgetAgent != "" {
		ops = append(ops,
			s.State.DeleteOp(table.Key{PK: names.Agent, SK: c.ForgetAgent}, "", nil),
			s.State.DeleteOp(table.Key{PK: names.Agent, SK: store.Quarantined(identity.Target{Kind: c.Resource.Kind, Name: c.Resource.Metadata.Name})}, "", nil))
		for _, t := range c.ForgetTargets {
			ops = append(ops, s.Release(t, c.ForgetAgent))
		}
	}
	if c.Revoke != nil {
		order := *c.Revoke
		order.Seq = c.Counters.Orders + 1
		// The number is this order's alone. What a restored table may have under it is of a change that it doesn't have.
		ops = append(ops, s.State.PutOp(store.OrderItem(order), "", nil))
	}
	return ops
}

// Held returns those of some roles that are stored, with each change that the counters counted when they were read before;
// [admin.ErrRaced] while one of them is being written.
func (s *Store) Held(ctx context.Context, roles []string) (all []resource.Role, err error) {
	keys := make([]table.Key, len(roles))
	for i, name := range roles {
		keys[i] = table.Key{PK: store.Partition(names.Role), SK: name}
	}
	items, busy, err := s.State.Settled(ctx, keys)
	if err != nil {
		return nil, err
	}
	if len(busy) > 0 {
		return nil, admin.ErrRaced
	}
	for _, k := range keys {
		if item, there := items[k]; there {
			all = append(all, store.RoleOf(item))
		}
	}
	return all, nil
}

// Secret returns the hash of a token's secret, "" for a token without one.
func (s *Store) Secret(ctx context.Context, token string) (string, error) {
	item, err := s.State.Get(ctx, table.Key{PK: names.Token, SK: token})
	if errors.Is(err, table.ErrNotFound) {
		return "", nil
	}
	return item.Text("secret_sha256"), err
}

// Targets returns what an agent holds according to its record; none for an agent without one.
func (s *Store) Targets(ctx context.Context, agent string) ([]identity.Target, error) {
	item, err := s.State.Get(ctx, table.Key{PK: names.Agent, SK: agent})
	if errors.Is(err, table.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	host, err := identity.ParseHost([]byte(item.Text("identity")))
	if err != nil {
		return nil, fmt.Errorf("reading the record of %s: %w", agent, err)
	}
	return host.Targets, nil
}
