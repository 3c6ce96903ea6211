// Package recorded keeps what is known of recordings without looking into them, in table state: each entry stands twice, by the
// day on which its session began and by its user.
//
// It decides nothing. Its entry point is [New].
package recorded

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/stile-dev/stile/pkg/archive"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/table"
)

// Store is the entries.
type Store struct{ table table.Table }

// New makes a store of entries in table state.
func New(db table.API, state string) Store {
	return Store{table.Table{API: db, Name: state}}
}

func day(t time.Time) string { return names.Recorded + "#" + t.UTC().Format(time.DateOnly) }

// keys are the entry's two partitions.
func keys(session, user string) (byDay, byUser string, err error) {
	made, err := identity.SessionTime(session)
	return day(made), names.RecordedOf + "#" + user, err
}

func item(pk string, e archive.Entry) table.Item {
	i := table.Item{
		names.PK: table.String(pk), names.SK: table.String(e.Session), "agent_id": table.String(e.Agent), "scope": table.String(e.Scope), "user": table.String(e.User), "uid": table.String(e.UID),
		"target": table.String(e.Target.String()), "started_ms": table.Int(e.Started.UnixMilli()),
	}
	if e.Login != "" {
		i["login"] = table.String(e.Login)
	}
	if e.Abandoned {
		i["abandoned"] = table.Int(1)
	}
	if e.Complete {
		i["ended_ms"], i["chunks"], i["bytes"] = table.Int(e.Ended.UnixMilli()), table.Int(e.Chunks), table.Int(e.Bytes)
	}
	if e.Last != "" {
		i["last"] = table.String(e.Last)
	}
	return i
}

func entry(i table.Item) (archive.Entry, error) {
	target, err := identity.ParseTarget(i.Text("target"))
	e := archive.Entry{
		Session: i.Text(names.SK), Agent: i.Text("agent_id"), Scope: i.Text("scope"), User: i.Text("user"), UID: i.Text("uid"), Login: i.Text("login"), Target: target,
		Started: time.UnixMilli(i.Int("started_ms")).UTC(), Abandoned: i.Int("abandoned") != 0,
	}
	if _, complete := i["ended_ms"]; complete {
		e.Ended, e.Chunks, e.Bytes, e.Complete = time.UnixMilli(i.Int("ended_ms")).UTC(), int(i.Int("chunks")), i.Int("bytes"), true
		e.Last = i.Text("last")
	}
	return e, err
}

// Create keeps an entry, or returns the one that is there.
func (r Store) Create(ctx context.Context, e archive.Entry) (archive.Entry, error) {
	byDay, byUser, err := keys(e.Session, e.User)
	if err != nil {
		return e, err
	}
	err = table.Transact(ctx, r.table.API, r.table.CreateOp(item(byDay, e)), r.table.CreateOp(item(byUser, e)))
	if table.Conflicts(err) {
		return r.Get(ctx, e.Session)
	}
	return e, err
}

// Get returns the entry of a session.
func (r Store) Get(ctx context.Context, session string) (archive.Entry, error) {
	byDay, _, err := keys(session, "")
	if err != nil {
		return archive.Entry{}, err
	}
	i, err := r.table.Get(ctx, table.Key{PK: byDay, SK: session})
	if errors.Is(err, table.ErrNotFound) {
		return archive.Entry{}, archive.ErrNone
	}
	if err != nil {
		return archive.Entry{}, err
	}
	return entry(i)
}

// Replace keeps an entry in place of the one that is there, unless its owner is another by now. One that is complete has no
// lease any more.
func (r Store) Replace(ctx context.Context, was, is archive.Entry) error {
	ops, err := r.replace(was, is, "agent_id = :was")
	if is.Complete {
		ops = append(ops, r.table.DeleteOp(recorder(is.Session), "", nil))
	}
	if err != nil {
		return err
	}
	return table.Transact(ctx, r.table.API, ops...)
}

func (r Store) replace(was, is archive.Entry, condition string) ([]table.Op, error) {
	byDay, byUser, err := keys(is.Session, is.User)
	owner := table.Item{":was": table.String(was.Agent)}
	return []table.Op{r.table.PutOp(item(byDay, is), condition, owner), r.table.PutOp(item(byUser, is), condition, owner)}, err
}

// Of returns a user's entries with ids from one and below another, the newest first.
func (r Store) Of(ctx context.Context, user, from, below string, limit int) ([]archive.Entry, bool, error) {
	return r.newest(ctx, names.RecordedOf+"#"+user, from, below, limit)
}

// Day returns those of a day, likewise.
func (r Store) Day(ctx context.Context, d time.Time, from, below string, limit int) ([]archive.Entry, bool, error) {
	return r.newest(ctx, day(d), from, below, limit)
}

func (r Store) newest(ctx context.Context, pk, from, below string, limit int) ([]archive.Entry, bool, error) {
	if below <= from {
		return nil, false, nil
	}
	out, err := r.table.API.Query(ctx, &dynamodb.QueryInput{
		TableName: &r.table.Name, ConsistentRead: aws.Bool(true), ScanIndexForward: aws.Bool(false), Limit: aws.Int32(int32(limit)),
		KeyConditionExpression:    aws.String("pk = :pk AND sk BETWEEN :from AND :below"),
		ExpressionAttributeValues: table.Item{":pk": table.String(pk), ":from": table.String(from), ":below": table.String(below)},
	})
	if err != nil {
		return nil, false, fmt.Errorf("listing %s: %w", pk, err)
	}
	var all []archive.Entry
	for _, i := range out.Items {
		if table.Item(i).Text(names.SK) == below { // BETWEEN has both ends
			continue
		}
		e, err := entry(i)
		if err != nil {
			return nil, false, err
		}
		all = append(all, e)
	}
	return all, len(out.LastEvaluatedKey) > 0, nil
}
