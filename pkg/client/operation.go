package client

import (
	"context"
	"iter"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/wire"
)

// LoginChallenge asks for a challenge for two keys, given by certs.KeysHash; it is valid for 60 seconds.
func (c *Client) LoginChallenge(ctx context.Context, keys string) (wire.Challenge, error) {
	return post[wire.Challenge](ctx, c, wire.ChallengeRequest{Keys: keys}, "v1", "login", "challenge")
}

// LoginIAM trades a signed sts:GetCallerIdentity request for a user credential.
func (c *Client) LoginIAM(ctx context.Context, r wire.LoginIAMRequest) (wire.UserCredential, error) {
	return post[wire.UserCredential](ctx, c, r, "v1", "login", "iam")
}

// JoinChallenge asks for a challenge to join or renew with; it is valid for 60 seconds.
func (c *Client) JoinChallenge(ctx context.Context, keys string) (wire.Challenge, error) {
	return post[wire.Challenge](ctx, c, wire.ChallengeRequest{Keys: keys}, "v1", "join", "challenge")
}

// JoinIAM joins, or renews, with a signed sts:GetCallerIdentity request.
func (c *Client) JoinIAM(ctx context.Context, r wire.JoinIAMRequest) (wire.HostCredential, error) {
	return post[wire.HostCredential](ctx, c, r, "v1", "join", "iam")
}

// JoinToken joins with a token's secret, or renews with the previous credential.
func (c *Client) JoinToken(ctx context.Context, r wire.JoinTokenRequest) (wire.HostCredential, error) {
	return post[wire.HostCredential](ctx, c, r, "v1", "join", "token")
}

// Status returns who the caller is, as the control plane sees it.
func (c *Client) Status(ctx context.Context) (wire.Status, error) {
	return signed[wire.Status](ctx, c, http.MethodGet, nil, "v1", "status")
}

// AgentBinaries returns where servers get the agent's programs, and what those are. The URLs are good for an hour.
func (c *Client) AgentBinaries(ctx context.Context) (wire.AgentBinaries, error) {
	return signed[wire.AgentBinaries](ctx, c, http.MethodGet, nil, "v1", "agent", "binaries")
}

// HostStatus returns who the calling agent or proxy is, as the control plane sees it.
func (c *Client) HostStatus(ctx context.Context) (wire.HostStatus, error) {
	return signed[wire.HostStatus](ctx, c, http.MethodGet, nil, "v1", "host", "status")
}

// ListTargets returns the targets of a kind that the caller may reach, sorted by name, and the live proxies.
func (c *Client) ListTargets(ctx context.Context, kind string) (wire.TargetList, error) {
	all := wire.TargetList{Targets: []wire.Target{}, Proxies: []string{}}
	err := pages(ctx, c, []string{"v1", "targets", kind}, func(page wire.TargetList) string {
		all.Targets, all.Proxies = append(all.Targets, page.Targets...), page.Proxies
		return page.Next
	})
	return all, err
}

// Resources yields the resources of a kind that the caller may list, sorted by name, a page at a time. An error ends it.
func (c *Client) Resources(ctx context.Context, kind string) iter.Seq2[wire.Resource, error] {
	return func(yield func(wire.Resource, error) bool) {
		err := named(kind)
		if err == nil {
			err = pages(ctx, c, []string{"v1", "admin", "resources", kind}, func(page wire.ResourceList) string {
				for _, r := range page.Resources {
					if !yield(r, nil) {
						return stopped
					}
				}
				return page.Next
			})
		}
		if err != nil {
			yield(wire.Resource{}, err)
		}
	}
}

// stopped is not a cursor: it says that the reader of the pages wants no more.
const stopped = "."

// pageSize keeps an answer far below the API's limit: a resource has at most 64 KiB, and most have about one.
const pageSize = 100

// maxPages stops a list that never ends, which no cluster has.
const maxPages = 1000

// pages reads a list page by page; take returns the cursor of the next, "" after the last.
func pages[T any](ctx context.Context, c *Client, path []string, take func(T) (next string)) error {
	return filtered(ctx, c, map[string][]string{}, path, take)
}

// filtered is pages with what else the query says.
func filtered[T any](ctx context.Context, c *Client, query map[string][]string, path []string, take func(T) (next string)) error {
	query = maps.Clone(query)
	query["limit"] = []string{strconv.Itoa(pageSize)}
	for range maxPages {
		var page T
		if err := c.call(ctx, operation{method: http.MethodGet, path: path, query: query, signed: true}, &page); err != nil {
			return err
		}
		switch next := take(page); next {
		case "", stopped:
			return nil
		default:
			query["cursor"] = []string{next}
		}
	}
	return fault.Newf(fault.Unreachable, "check the API's URL: something other than the Stile API is answering there", "%s returns the same page of a list again and again", c.base.Host)
}

// GetResource returns one resource; NotFound when it doesn't exist.
func (c *Client) GetResource(ctx context.Context, kind, name string) (wire.Resource, error) {
	return resource[wire.Resource](ctx, c, http.MethodGet, nil, kind, name)
}

// CreateResource creates a resource; Conflict when it exists. The answer has a join token's secret, this once.
func (c *Client) CreateResource(ctx context.Context, r wire.Resource) (wire.Created, error) {
	return resource[wire.Created](ctx, c, http.MethodPost, r, r.Kind, r.Metadata.Name)
}

// UpdateResource replaces a resource; with a revision only if that is still current, else Conflict.
func (c *Client) UpdateResource(ctx context.Context, r wire.Resource) (wire.Created, error) {
	return resource[wire.Created](ctx, c, http.MethodPut, r, r.Kind, r.Metadata.Name)
}

// DeleteResource deletes a resource and returns what it was, with a warning if what it revokes is not in force yet.
func (c *Client) DeleteResource(ctx context.Context, kind, name string) (wire.Created, error) {
	return resource[wire.Created](ctx, c, http.MethodDelete, nil, kind, name)
}

// ClaimRecording registers the recording of a session, as the agent that made the session's id; it may be repeated.
func (c *Client) ClaimRecording(ctx context.Context, session string, claim wire.RecordingClaim) (wire.Recording, error) {
	return signed[wire.Recording](ctx, c, http.MethodPut, claim, "v1", "host", "recordings", session)
}

// GrantUploads asks for URLs by which the calling agent puts objects of its session's recording, at most 20 at once.
func (c *Client) GrantUploads(ctx context.Context, session string, r wire.UploadRequest) (wire.UploadGrants, error) {
	return signed[wire.UploadGrants](ctx, c, http.MethodPost, r, "v1", "host", "recordings", session, "uploads")
}

// ConfirmUploads asks which objects of its session's recording S3 holds, at most 20 at once.
func (c *Client) ConfirmUploads(ctx context.Context, session string, r wire.HeldRequest) (wire.HeldObjects, error) {
	return signed[wire.HeldObjects](ctx, c, http.MethodPost, r, "v1", "host", "recordings", session, "held")
}

// GetRecording returns a recording's description; NotFound when there is none, or none that the caller may read.
func (c *Client) GetRecording(ctx context.Context, session string) (wire.Recording, error) {
	if err := named(session); err != nil {
		return wire.Recording{}, err
	}
	return signed[wire.Recording](ctx, c, http.MethodGet, nil, "v1", "recordings", session)
}

// ReadRecording returns a page of a recording's objects with URLs to get them at. Each page is written into the
// ledger as a read; cursor is "" for it.
func (c *Client) ReadRecording(ctx context.Context, session, cursor string) (wire.RecordingObjects, error) {
	if err := named(session); err != nil {
		return wire.RecordingObjects{}, err
	}
	return signed[wire.RecordingObjects](ctx, c, http.MethodPost, wire.ReadRequest{Cursor: cursor}, "v1", "recordings", session, "reads")
}

// RecordingQuery narrows a list of recordings; zero fields don't.
type RecordingQuery struct {
	User, Target string // a user's name; kind/name
	Since, Until time.Time
}

// Recordings yields the recordings that the caller may list, newest first, a page at a time. An error ends it.
func (c *Client) Recordings(ctx context.Context, q RecordingQuery) iter.Seq2[wire.Recording, error] {
	query := map[string][]string{}
	for name, value := range map[string]string{"user": q.User, "target": q.Target, "since": stamp(q.Since), "until": stamp(q.Until)} {
		if value != "" {
			query[name] = []string{value}
		}
	}
	return func(yield func(wire.Recording, error) bool) {
		err := filtered(ctx, c, query, []string{"v1", "recordings"}, func(page wire.RecordingList) string {
			for _, r := range page.Recordings {
				if !yield(r, nil) {
					return stopped
				}
			}
			return page.Next
		})
		if err != nil {
			yield(wire.Recording{}, err)
		}
	}
}

// SessionEvents yields a session's events from the ledger, oldest first, a page at a time. An error ends it.
func (c *Client) SessionEvents(ctx context.Context, session string) iter.Seq2[wire.LedgerEvent, error] {
	return c.belonging(ctx, "sessions", session)
}

// DecisionEvents yields the events in the ledger that name a decision, a page at a time. An error ends it.
func (c *Client) DecisionEvents(ctx context.Context, decision string) iter.Seq2[wire.LedgerEvent, error] {
	return c.belonging(ctx, "decisions", decision)
}

// belonging yields the events of one thing of a kind.
func (c *Client) belonging(ctx context.Context, kind, id string) iter.Seq2[wire.LedgerEvent, error] {
	return func(yield func(wire.LedgerEvent, error) bool) {
		err := named(id)
		if err == nil {
			err = pages(ctx, c, []string{"v1", "audit", kind, id}, func(page wire.EventList) string {
				for _, e := range page.Events {
					if !yield(e, nil) {
						return stopped
					}
				}
				return page.Next
			})
		}
		if err != nil {
			yield(wire.LedgerEvent{}, err)
		}
	}
}

// EventQuery narrows a list of events; zero fields don't. Types has types of events, or what stands before the dot of several.
type EventQuery struct {
	Types        []string
	Actor        string // user/<name>, or a user's name
	Target       string // <kind>/<name>
	Outcome      string
	Since, Until time.Time // of the receipt; an hour ago and now
}

// Events passes on what the ledger received, in that order, as far as the caller may see it, a page at a time; a page may have
// none. It returns from when to when that was, by the API's clock: what is received within the last minute of it may still become
// readable. An error of take ends it.
func (c *Client) Events(ctx context.Context, q EventQuery, take func(wire.ReceivedEvents) error) (since, until time.Time, err error) {
	query := map[string][]string{"limit": {strconv.Itoa(pageSize)}}
	for name, value := range map[string]string{
		"type": strings.Join(q.Types, ","), "actor": q.Actor, "target": q.Target, "outcome": q.Outcome, "since": stamp(q.Since), "until": stamp(q.Until),
	} {
		if value != "" {
			query[name] = []string{value}
		}
	}
	for before := ""; ; {
		var page wire.ReceivedEvents
		if err := c.call(ctx, operation{method: http.MethodGet, path: []string{"v1", "audit", "events"}, query: query, signed: true}, &page); err != nil {
			return since, until, err
		}
		if err := take(page); err != nil {
			return since, until, err
		}
		if since, until = page.Since, page.Until; page.Next == "" {
			return since, until, nil
		}
		if page.Next == before {
			return since, until, fault.Newf(fault.Unreachable, "check the API's URL: something other than the Stile API is answering there", "%s returns the same page of a list again and again", c.base.Host)
		}
		before = page.Next
		query["cursor"], query["since"], query["until"] = []string{page.Next}, []string{stamp(page.Since)}, []string{stamp(page.Until)}
	}
}

// StartQuery asks the audit lake.
func (c *Client) StartQuery(ctx context.Context, r wire.QueryRequest) (wire.StartedQuery, error) {
	return signed[wire.StartedQuery](ctx, c, http.MethodPost, r, "v1", "audit", "queries")
}

// Query says how a query of the caller's goes.
func (c *Client) Query(ctx context.Context, id string) (wire.QueryState, error) {
	return query(ctx, c, http.MethodGet, id)
}

// StopQuery ends a query of the caller's.
func (c *Client) StopQuery(ctx context.Context, id string) (wire.QueryState, error) {
	return query(ctx, c, http.MethodDelete, id)
}

func query(ctx context.Context, c *Client, method, id string) (wire.QueryState, error) {
	if err := named(id); err != nil {
		return wire.QueryState{}, err
	}
	return signed[wire.QueryState](ctx, c, method, nil, "v1", "audit", "queries", id)
}

// AuditBody returns the whole of what an event had no room for, by its SHA-256 in hex.
func (c *Client) AuditBody(ctx context.Context, sum string) (string, error) {
	if err := named(sum); err != nil {
		return "", err
	}
	body, err := signed[wire.AuditBody](ctx, c, http.MethodGet, nil, "v1", "audit", "bodies", sum)
	return body.Text, err
}

// QueryRows passes on what a query of the caller's found, a page at a time; the first may have no row. An error of take ends it.
func (c *Client) QueryRows(ctx context.Context, id string, take func(wire.QueryRows) error) error {
	if err := named(id); err != nil {
		return err
	}
	op := operation{method: http.MethodGet, path: []string{"v1", "audit", "queries", id, "rows"}, signed: true}
	for before := ""; ; {
		var page wire.QueryRows
		if err := c.call(ctx, op, &page); err != nil {
			return err
		}
		if err := take(page); err != nil || page.Next == "" {
			return err
		}
		if page.Next == before {
			return fault.Newf(fault.Unreachable, "check the API's URL: something other than the Stile API is answering there", "%s returns the same page of a list again and again", c.base.Host)
		}
		before = page.Next
		op.query = map[string][]string{"cursor": {page.Next}}
	}
}

// stamp is a time in a query; "" for the zero time.
func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

func post[T any](ctx context.Context, c *Client, body any, path ...string) (T, error) {
	var out T
	err := c.call(ctx, operation{method: http.MethodPost, path: path, body: body}, &out)
	return out, err
}

func signed[T any](ctx context.Context, c *Client, method string, body any, path ...string) (T, error) {
	var out T
	err := c.call(ctx, operation{method: method, path: path, body: body, signed: true}, &out)
	return out, err
}

func resource[T any](ctx context.Context, c *Client, method string, body any, kind, name string) (T, error) {
	if err := named(kind, name); err != nil {
		var none T
		return none, err
	}
	return signed[T](ctx, c, method, body, "v1", "admin", "resources", kind, name)
}

// named refuses what would change the path's shape: "", "." and "..".
func named(segments ...string) error {
	for _, s := range segments {
		if s == "" || s == "." || s == ".." {
			return fault.Newf(fault.BadInput, "give a kind and a name, such as role/developer", "%q is not a name", s)
		}
	}
	return nil
}
