package issuance

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/issue"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/store"
	"github.com/stile-dev/stile/pkg/table"
)

// Attributes of an agent's record.
const (
	standing    = "standing"    // one of those below
	certificate = "certificate" // the one in force; earlier releases wrote none
	previous    = "previous"    // the one that it is the renewal of
	epoch       = "epoch"       // in which the record was written; earlier releases wrote none
)

// What an agent's record can say of it.
const (
	active   = "active"
	isCopied = "copied"
)

// renew replaces an agent's record, if it is as [issue.Record.Renews] has it, or still is the one that can't judge the renewal.
// It replaces none of a later epoch.
func (s *Store) renew(agent table.Item, a issue.Admission) table.Op {
	needs, values := standing+" = :active", table.Item{":active": table.String(active), ":epoch": agent[epoch]}
	if a.Same && a.Token != "" {
		needs += " AND " + store.TokenUID + " = :uid"
		values[":uid"] = table.String(a.Token)
	}
	ways := []string{certificate + " = :shown", previous + " = :shown", "attribute_not_exists(" + certificate + ")"}
	if a.Unjudged == nil {
		values[":shown"] = table.String(a.Shown)
	} else {
		ways = []string{certificate + " = :was"}
		values[":was"] = table.String(a.Unjudged.Record.Certificate)
	}
	var any []string
	for _, way := range ways {
		for _, upward := range []string{"attribute_not_exists(" + epoch + ")", epoch + " <= :epoch"} {
			any = append(any, needs+" AND "+way+" AND "+upward)
		}
	}
	return s.State.PutOp(agent, strings.Join(any, " OR "), values)
}

// Agent returns an agent's or a proxy's record; the zero value when it was removed.
func (s *Store) Agent(ctx context.Context, id string) (issue.Record, error) {
	item, err := s.State.Get(ctx, table.Key{PK: names.Agent, SK: id})
	if errors.Is(err, table.ErrNotFound) {
		return issue.Record{}, nil
	}
	if err != nil {
		return issue.Record{}, err
	}
	in, err := writtenIn(item)
	if err != nil {
		return issue.Record{}, fmt.Errorf("reading the record of %s: %w", id, err)
	}
	return issue.Record{
		ID: id, Token: item.Text(store.TokenUID), Certificate: item.Text(certificate), Previous: item.Text(previous),
		Copied: item.Text(standing) != active, Epoch: in,
	}, nil
}

// writtenIn is the epoch of a record. Where an earlier release wrote none, it is the one that the agent's certificate was issued
// in, and at least the first: no record is older than all epochs.
func writtenIn(item table.Item) (uint64, error) {
	if item[epoch] != nil {
		return uint64(max(item.Int(epoch), 1)), nil
	}
	host, err := identity.ParseHost([]byte(item.Text("identity")))
	return max(host.Versions.Trust.Epoch, 1), err
}

// Copied writes, in one transaction, single use, that the agent whose record this is was copied, and the event. The record
// stays, with all that the agent holds, until somebody removes it.
func (s *Store) Copied(ctx context.Context, i issue.Intent, r issue.Record, e audit.Event) error {
	item, err := s.State.Get(ctx, table.Key{PK: names.Agent, SK: r.ID})
	if errors.Is(err, table.ErrNotFound) {
		return issue.ErrRecord
	}
	if err != nil {
		return err
	}
	item = maps.Clone(item)
	item[standing] = table.String(isCopied)
	event, err := s.Ledger.Ops(e)
	if err != nil {
		return err
	}
	mark := s.State.PutOp(item, standing+" = :active AND "+certificate+" = :certificate", table.Item{
		":active": table.String(active), ":certificate": table.String(r.Certificate),
	})
	return store.Conditions(table.Transact(ctx, s.API, append([]table.Op{s.used(i), mark}, event...)...), issue.ErrUsed, issue.ErrRecord)
}
