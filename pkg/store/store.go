// Package store reads the tables state and secrets, and with the packages below it is the only
// place that knows how their items look: issuance writes what signers do, change what administrators do.
//
// It decides nothing and writes nothing. Its entry point is [New].
package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/resource"
	"github.com/stile-dev/stile/pkg/strict"
	"github.com/stile-dev/stile/pkg/table"
)

// Config says where the tables are. A function has those that its role may use.
type Config struct {
	DynamoDB               table.API
	State, Secrets, Ledger string
}

// Store is the tables. It may be used by several goroutines.
type Store struct {
	API            table.API
	State, Secrets table.Table
}

// New makes a store.
func New(c Config) *Store {
	return &Store{
		API: c.DynamoDB, State: table.Table{API: c.DynamoDB, Name: c.State}, Secrets: table.Table{API: c.DynamoDB, Name: c.Secrets},
	}
}

// decode reads an item of table state as a resource of a kind.
func decode(kind string, i table.Item) (resource.Resource, error) {
	return resource.DecodeSpec(kind, metadata(i), []byte(i.Text("spec")))
}

// decodeAll reads all of them, or fails.
func decodeAll(kind string, items []table.Item) ([]resource.Resource, error) {
	var all []resource.Resource
	for _, i := range items {
		r, err := decode(kind, i)
		if err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	return all, nil
}

func metadata(i table.Item) resource.Metadata {
	return resource.Metadata{Name: i.Text(names.SK), Scope: cmp.Or(i.Text("scope"), "/"), Revision: i.Int("revision")}
}

// one reads one resource whose spec is T.
func one[T any](ctx context.Context, s *Store, kind, name string) (resource.Metadata, T, bool, error) {
	var none T
	r, found, err := s.Get(ctx, kind, name)
	if err != nil || !found {
		return resource.Metadata{}, none, false, err
	}
	spec, ok := any(r.Spec).(*T)
	if !ok {
		return resource.Metadata{}, none, false, fmt.Errorf("reading %s %q: its spec is of another kind", kind, name)
	}
	return r.Metadata, *spec, true, nil
}

// Mappings returns all current IAM mappings. One that can't be read, as a newer release may have written it, is
// not left out: what it matches must not be admitted by the others. It is an error if even its match can't be read.
func (s *Store) Mappings(ctx context.Context) ([]resource.Mapping, error) {
	items, err := s.State.List(ctx, names.Mapping)
	if err != nil {
		return nil, err
	}
	all := make([]resource.Mapping, len(items))
	for i, item := range items {
		all[i].Metadata = metadata(item)
		r, err := decode(names.Mapping, item)
		if spec, ok := r.Spec.(*resource.MappingSpec); err == nil && ok {
			all[i].Spec = *spec
			continue
		}
		var known struct {
			Match resource.IAMMatch `json:"match"`
		}
		if strict.LaterJSON([]byte(item.Text("spec")), strict.MaxSize, &known) != nil || known.Match.Validate() != nil {
			return nil, fmt.Errorf("reading iam_mapping %q: %w", all[i].Metadata.Name, err)
		}
		all[i].Spec.Match, all[i].Unreadable = known.Match, true
	}
	return all, nil
}

// Roles returns all current stored roles; presets are not among them. One that can't be read, as a
// newer release may have written it, is not left out: it denies its holders everything.
func (s *Store) Roles(ctx context.Context) ([]resource.Role, error) {
	items, err := s.State.List(ctx, names.Role)
	if err != nil {
		return nil, err
	}
	all := make([]resource.Role, len(items))
	for i, item := range items {
		all[i] = RoleOf(item)
	}
	return all, nil
}

// RoleOf reads a role; one that can't be read denies its holders everything.
func RoleOf(item table.Item) resource.Role {
	r, err := decode(names.Role, item)
	role, ok := r.Role()
	if err != nil || !ok {
		return resource.Unreadable(metadata(item))
	}
	return role
}

// User returns a user's record, if there is one.
func (s *Store) User(ctx context.Context, name string) (resource.User, bool, error) {
	m, spec, found, err := one[resource.UserSpec](ctx, s, names.User, name)
	return resource.User{Metadata: m, Spec: spec}, found, err
}

// Token returns a join token, if there is one.
func (s *Store) Token(ctx context.Context, name string) (resource.Token, bool, error) {
	item, err := s.State.Get(ctx, table.Key{PK: names.Token, SK: name})
	if errors.Is(err, table.ErrNotFound) {
		return resource.Token{}, false, nil
	}
	if err != nil {
		return resource.Token{}, false, err
	}
	r, err := decode(names.Token, item)
	if err != nil {
		return resource.Token{}, false, err
	}
	spec, ok := r.Spec.(*resource.TokenSpec)
	if !ok {
		return resource.Token{}, false, fmt.Errorf("reading token %q: its spec is of another kind", name)
	}
	return resource.Token{Metadata: r.Metadata, Spec: *spec, UID: item.Text(TokenUID)}, true, nil
}

// TokenUID is the attribute of a token that tells it from an earlier one of its name, and of an agent's record that names it.
const TokenUID = "token_uid"

// Partition returns where resources of a kind are.
func Partition(kind string) string {
	k, _ := resource.KindOf(kind)
	return k.Partition()
}

// Get returns the current resource, if there is one.
func (s *Store) Get(ctx context.Context, kind, name string) (resource.Resource, bool, error) {
	item, err := s.State.Get(ctx, table.Key{PK: Partition(kind), SK: name})
	if errors.Is(err, table.ErrNotFound) {
		return resource.Resource{}, false, nil
	}
	if err != nil {
		return resource.Resource{}, false, err
	}
	r, err := decode(kind, item)
	return r, err == nil, err
}

// List returns all current resources of a kind, sorted by name.
func (s *Store) List(ctx context.Context, kind string) ([]resource.Resource, error) {
	items, err := s.State.List(ctx, Partition(kind))
	if err != nil {
		return nil, err
	}
	return decodeAll(kind, items)
}

// Page returns at most limit resources of a kind that come after a name, sorted by name, and says whether there may be
// more. A limit of 0 is all of them.
func (s *Store) Page(ctx context.Context, kind, after string, limit int) (all []resource.Resource, more bool, err error) {
	if limit == 0 {
		all, err = s.List(ctx, kind)
		return all, false, err
	}
	items, more, err := s.State.Page(ctx, Partition(kind), after, limit)
	if err != nil {
		return nil, false, err
	}
	all, err = decodeAll(kind, items)
	return all, more && err == nil, err
}

// KeyInput is the item with the counters that changes add to: n of all changes, orders of those that revoke.
var KeyInput = table.Key{PK: names.Input, SK: "policy"}

// Counters returns the counters that changes add to; 0 before the first.
func (s *Store) Counters(ctx context.Context) (document.Counters, error) {
	item, err := s.State.Get(ctx, KeyInput)
	if errors.Is(err, table.ErrNotFound) {
		return document.Counters{}, nil
	}
	return document.Counters{Input: item.Int("n"), Orders: item.Int("orders")}, err
}

// Conditions turns the conflict of the n-th operation into the n-th error.
func Conditions(err error, meaning ...error) error {
	if c, ok := errors.AsType[*table.Conflict](err); ok && c.Op < len(meaning) && meaning[c.Op] != nil {
		return meaning[c.Op]
	}
	return err
}

// Listed writes the keys of an agent's places into its record.
func Listed(places []table.Key) string {
	var all []string
	for _, p := range places {
		all = append(all, p.PK+"/"+p.SK)
	}
	return strings.Join(all, " ")
}

// Places reads what [Listed] wrote.
func Places(listed string) (all []table.Key) {
	for p := range strings.FieldsSeq(listed) {
		if i := strings.LastIndexByte(p, '/'); i > 0 {
			all = append(all, table.Key{PK: p[:i], SK: p[i+1:]})
		}
	}
	return all
}

// Release frees a target's name if the agent holds it.
func (s *Store) Release(t identity.Target, agent string) table.Op {
	return s.State.DeleteOp(table.Key{PK: Partition(t.Kind), SK: t.Name}, "attribute_not_exists(pk) OR held_by = :agent", table.Item{":agent": table.String(agent)})
}

// Quarantined is the sort key of the newest claim of a target that another agent holds.
func Quarantined(t identity.Target) string { return "quarantined#" + t.String() }
