// Package archive decides who may bring recordings, list them and read them: the agent that made a session's id its recording,
// people their own, and others what a rule on recordings allows them.
//
// It knows no AWS; what it needs are the small interfaces below. Its entry point is [New].
package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/recording"
	"github.com/stile-dev/stile/pkg/wire"
)

// Entry is what is known of a recording without looking into it. Who the user was is the agent's word.
type Entry struct {
	Session          string
	Agent            string // the owner's id
	Scope            string // of the agent
	User, UID, Login string
	Target           identity.Target
	Started, Ended   time.Time // the agent's clock; zero until it is complete
	Chunks           int       // as the manifest says
	Bytes            int64     // of output, as the manifest says
	Last             string    // hex SHA-256 of the last chunk, as the manifest says
	Complete         bool
	Abandoned        bool // its agent wasn't heard of any more, and it may still come back
}

// ErrNone says that there is no such recording.
var ErrNone = errors.New("no such recording")

// Store keeps entries.
type Store interface {
	// Create keeps an entry, or returns the one that is there.
	Create(context.Context, Entry) (Entry, error)
	// Get returns the entry of a session, or ErrNone.
	Get(ctx context.Context, session string) (Entry, error)
	// Replace keeps an entry in place of the one that is there, unless that has another owner than was meant. One that is
	// complete has no lease any more.
	Replace(ctx context.Context, was, is Entry) error
	// Hold keeps the lease of a recording that isn't complete, in place of the one that is there.
	Hold(context.Context, Lease) error
	// Of returns a user's entries with ids below one and not below another, the newest first, at most limit, and whether there
	// may be more.
	Of(ctx context.Context, user, from, below string, limit int) ([]Entry, bool, error)
	// Day returns those of a day, likewise.
	Day(ctx context.Context, day time.Time, from, below string, limit int) ([]Entry, bool, error)
}

// Object is one that S3 holds.
type Object struct {
	Size   int64
	SHA256 []byte // empty when S3 knows none
}

// Objects is the bucket of recordings.
type Objects interface {
	// Grant returns a URL and headers by which whoever has them puts exactly one object, once.
	Grant(ctx context.Context, key string, size int64, sha256 []byte) (url string, headers map[string]string, err error)
	// Head describes what is under a key, and whether anything is.
	Head(ctx context.Context, key string) (Object, bool, error)
	// Get reads what is under a key, at most so many bytes.
	Get(ctx context.Context, key string, most int64) ([]byte, error)
	// Read lists all versions of objects under a prefix, a page at a time, with URLs by which whoever has them gets each.
	Read(ctx context.Context, prefix, after string) (objects []wire.RecordingObject, next string, err error)
}

// Ledger keeps events. When it returns nil they are kept.
type Ledger interface {
	Append(context.Context, ...audit.Event) error
}

// Pace bounds what one agent brings, or how often one person is denied.
type Pace interface {
	// Take counts n of something, or fails with [fault.RateLimited].
	Take(ctx context.Context, who string, n int, now time.Time) error
}

// Lasts is how long a URL is good for.
const Lasts = 15 * time.Minute

// Bounds of what is taken from an agent.
const (
	maxObjects = 20
	maxText    = 256 // bytes of a name
	maxDrift   = 10 * time.Minute
)

// Config is what an archive needs.
type Config struct {
	Store   Store
	Objects Objects
	Claims  Pace // of claims
	Puts    Pace // of what is put, of [recording.PutUnit] bytes each
	Denials Pace // of people's denials, by uid
	Ledger  Ledger
	Cluster string
	Entropy io.Reader
	// Measure takes how much there was of something, which a names.MetricUploads… names: 1 or more. Nil measures nothing.
	Measure func(metric string, n int)
}

// Archive is safe for concurrent use.
type Archive struct{ config Config }

// New makes an archive.
func New(c Config) *Archive { return &Archive{c} }

// measure passes on what there was.
func (a *Archive) measure(metric string, n int) {
	if a.config.Measure != nil && n > 0 {
		a.config.Measure(metric, n)
	}
}

// Source is what an event says of a call.
type Source struct {
	RequestID, SourceIP string
	Now                 time.Time
}

// Claim registers a recording as the calling agent's, and that the agent is alive, which it says again every
// [recording.ClaimEvery]. Whoever shows the secret that the session's id was made from made it, also when the agent has joined
// again under another id since.
func (a *Archive) Claim(ctx context.Context, host identity.Host, session string, c wire.RecordingClaim, now time.Time) (wire.Recording, error) {
	e, err := claimed(host, session, c)
	if err != nil {
		return wire.Recording{}, err
	}
	if err := a.config.Claims.Take(ctx, host.ID, 1, now); err != nil {
		return wire.Recording{}, err
	}
	there, err := a.config.Store.Create(ctx, e)
	if err != nil {
		return wire.Recording{}, err
	}
	if there.Agent != host.ID {
		e = there
		e.Agent, e.Scope = host.ID, host.Scope
		if err := a.config.Store.Replace(ctx, there, e); err != nil {
			return wire.Recording{}, err
		}
		there = e
	}
	if !there.Complete {
		if err := a.config.Store.Hold(ctx, Lease{Session: session, Agent: host.ID, Until: now.Add(recording.LeaseFor)}); err != nil {
			return wire.Recording{}, err
		}
	}
	return there.outside(), nil
}

func claimed(host identity.Host, session string, c wire.RecordingClaim) (Entry, error) {
	if err := agent(host); err != nil {
		return Entry{}, err
	}
	if !identity.MadeSession(session, c.Secret) {
		return Entry{}, fault.New(fault.Denied, "this agent didn't make the session's id", "send the secret that it was made from")
	}
	target, err := identity.ParseTarget(c.Target)
	if err != nil {
		return Entry{}, err
	}
	if !host.Serves(target) {
		return Entry{}, fault.Newf(fault.Denied, "join as an agent that serves it", "agent %s doesn't serve %s", host.ID, target)
	}
	for name, value := range map[string]string{"user": c.User, "uid": c.UID, "login": c.Login} {
		if len(value) > maxText || strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == 0x7f }) || value == "" && name != "login" {
			return Entry{}, fault.Newf(fault.BadInput, "update the agent", "the recording's %s is not a name", name).With(name, "empty, too long or with control characters")
		}
	}
	made, err := identity.SessionTime(session)
	if err != nil || c.Started.UTC().Year() > 9999 || c.Started.Before(made.Add(-maxDrift)) || c.Started.After(made.Add(maxDrift)) {
		return Entry{}, fault.New(fault.BadInput, "the session's id was made at another time than it started", "update the agent").With("started", "not when the id was made")
	}
	return Entry{Session: session, Agent: host.ID, Scope: host.Scope, User: c.User, UID: c.UID, Login: c.Login, Target: target, Started: c.Started.UTC()}, nil
}

func agent(host identity.Host) error {
	if host.Kind != identity.KindAgent {
		return fault.New(fault.Denied, "recordings come from agents alone", "call as an agent")
	}
	return nil
}

// owned returns the entry of a recording that is the calling agent's. That there is another's isn't told.
func (a *Archive) owned(ctx context.Context, host identity.Host, session string) (Entry, string, error) {
	if err := agent(host); err != nil {
		return Entry{}, "", err
	}
	prefix, err := recording.Prefix(session)
	if err != nil {
		return Entry{}, "", notThere(session)
	}
	e, err := a.config.Store.Get(ctx, session)
	if errors.Is(err, ErrNone) || err == nil && e.Agent != host.ID {
		return Entry{}, "", fault.New(fault.NotFound, "this agent has no such recording", "claim it first")
	}
	return e, prefix, err
}

// Grant returns how the owner puts objects of its recording.
func (a *Archive) Grant(ctx context.Context, host identity.Host, session string, r wire.UploadRequest, now time.Time) (wire.UploadGrants, error) {
	e, prefix, err := a.owned(ctx, host, session)
	if err != nil {
		return wire.UploadGrants{}, err
	}
	if err := few("objects", len(r.Objects)); err != nil {
		return wire.UploadGrants{}, err
	}
	bytes := int64(0)
	for n, o := range r.Objects {
		if err := fits(o); err != nil {
			return wire.UploadGrants{}, fault.Newf(fault.BadInput, "update the agent", "objects[%d]: %v", n, err).With(fmt.Sprintf("objects[%d]", n), err.Error())
		}
		if seq, manifest, _ := recording.ParseName(o.Name); e.Complete && !manifest && seq >= e.Chunks { // it would make the recording look changed
			return wire.UploadGrants{}, fault.Newf(fault.Conflict, "run stile recording verify "+session, "the recording is complete with %d chunks: %s can't be one of them", e.Chunks, o.Name)
		}
		bytes += o.Size
	}
	if err := a.config.Puts.Take(ctx, host.ID, int((bytes+recording.PutUnit-1)/recording.PutUnit), now); err != nil {
		return wire.UploadGrants{}, err
	}
	out := wire.UploadGrants{Grants: []wire.UploadGrant{}}
	for _, o := range r.Objects {
		url, headers, err := a.config.Objects.Grant(ctx, prefix+o.Name, o.Size, o.Sha256)
		if err != nil {
			return wire.UploadGrants{}, err
		}
		out.Grants = append(out.Grants, wire.UploadGrant{Name: o.Name, URL: url, Headers: headers, ExpiresAt: now.Add(Lasts).UTC().Truncate(time.Second)})
	}
	a.measure(names.MetricUploadsGranted, len(out.Grants))
	return out, nil
}

// few fails when a call names no object, or too many.
func few(field string, n int) error {
	if n == 0 || n > maxObjects {
		return fault.Newf(fault.BadInput, "ask for fewer at once", "a call is about 1 to %d objects", maxObjects).With(field, "too many or none")
	}
	return nil
}

// fits fails when an object can be none of a recording.
func fits(o wire.UploadObject) error {
	_, manifest, err := recording.ParseName(o.Name)
	most := int64(recording.MaxChunk)
	if manifest {
		most = recording.MaxManifest
	}
	switch {
	case err != nil:
		return err
	case o.Size < 1 || o.Size > most:
		return fmt.Errorf("%s has between 1 and %d bytes", o.Name, most)
	case len(o.Sha256) != 32:
		return fmt.Errorf("%s comes with its SHA-256", o.Name)
	}
	return nil
}

// Held says what S3 holds of the owner's recording. A manifest that is held completes the recording.
//
// What it can't say that S3 holds is measured as missing: an agent asks after it has put something. Whatever is under a name,
// with the checksum that each PUT has, is there, be it another's: then S3 takes what it is brought.
func (a *Archive) Held(ctx context.Context, host identity.Host, session string, r wire.HeldRequest, now time.Time) (wire.HeldObjects, error) {
	e, prefix, err := a.owned(ctx, host, session)
	if err != nil {
		return wire.HeldObjects{}, err
	}
	if err := few("names", len(r.Names)); err != nil {
		return wire.HeldObjects{}, err
	}
	if err := a.config.Puts.Take(ctx, host.ID, len(r.Names), now); err != nil { // S3 is asked for each
		return wire.HeldObjects{}, err
	}
	out, missing := wire.HeldObjects{Objects: []wire.UploadObject{}}, 0
	defer func() { a.measure(names.MetricUploadsMissing, missing) }()
	for n, name := range r.Names {
		_, manifest, err := recording.ParseName(name)
		if err != nil {
			return wire.HeldObjects{}, fault.Newf(fault.BadInput, "update the agent", "names[%d]: %v", n, err).With(fmt.Sprintf("names[%d]", n), err.Error())
		}
		o, there, err := a.config.Objects.Head(ctx, prefix+name)
		if err != nil { // S3 answers nothing of the rest
			missing += len(r.Names) - n
			return wire.HeldObjects{}, err
		}
		if !there || len(o.SHA256) == 0 {
			missing++
			continue
		}
		if manifest && !e.Complete {
			if e, err = a.complete(ctx, e, prefix); err != nil {
				return wire.HeldObjects{}, err
			}
		}
		out.Objects = append(out.Objects, wire.UploadObject{Name: name, Size: o.Size, Sha256: o.SHA256})
	}
	return out, nil
}

// complete takes what the manifest says of a recording as its owner's word: who wants proof verifies the recording.
func (a *Archive) complete(ctx context.Context, e Entry, prefix string) (Entry, error) {
	b, err := a.config.Objects.Get(ctx, prefix+recording.ManifestName, recording.MaxManifest)
	if err != nil {
		return e, err
	}
	s, err := recording.OpenManifest(b)
	if err == nil && (s.Manifest.Session != e.Session || !s.Verify()) {
		err = errors.New("it is another session's, or its certificate's key didn't sign it")
	}
	if err != nil { // the object can't be replaced: the recording stays open, and whoever verifies it learns why
		return e, fault.Newf(fault.Conflict, "run stile recording verify "+e.Session, "the manifest of %s is not one: %v", e.Session, err)
	}
	is := e
	is.Ended, is.Chunks, is.Bytes, is.Last, is.Complete = s.Manifest.Ended.UTC(), s.Manifest.Chunks, s.Manifest.Bytes, s.Manifest.Last, true
	return is, a.config.Store.Replace(ctx, e, is)
}

func notThere(session string) *fault.Fault {
	return fault.Newf(fault.NotFound, "list those that you may read with: stile recording ls", "there is no recording %.64q that you may read", session)
}

func (e Entry) outside() wire.Recording {
	r := wire.Recording{
		ID: e.Session, SessionID: e.Session, User: e.User, Login: e.Login, Node: e.Target.Name, Started: e.Started, State: "open", Chunks: e.Chunks, Bytes: e.Bytes, Last: e.Last,
	}
	switch {
	case e.Complete:
		r.State, r.Ended = "complete", e.Ended
	case e.Abandoned:
		r.State = "incomplete"
	}
	return r
}

// Person is a caller who lists and reads.
type Person struct {
	User  identity.User
	State document.State
	Source
}
