// Package upload brings recordings from the agent's spool to S3, and lets go of nothing that S3 doesn't provably hold: an
// answer to a PUT that repeats the checksum says so, or functions/recording, which asks S3. That something is there
// already proves nothing of what it is.
//
// Its entry point is [New].
package upload

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/stile-dev/stile/agent/record"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/recording"
	"github.com/stile-dev/stile/pkg/wire"
)

// API is a *client.Client with the agent's certificate.
type API interface {
	ClaimRecording(ctx context.Context, session string, claim wire.RecordingClaim) (wire.Recording, error)
	GrantUploads(ctx context.Context, session string, r wire.UploadRequest) (wire.UploadGrants, error)
	ConfirmUploads(ctx context.Context, session string, r wire.HeldRequest) (wire.HeldObjects, error)
}

// Spool is a *record.Spool.
type Spool interface {
	Ready() <-chan struct{}
	Pending() []record.Pending
	Read(session, name string) ([]byte, error)
	Held(session, name string) error
	Forget(session string) error
	Failed(p record.Pending, name, why string)
}

// Config is what an uploader needs. Spool and API are required.
type Config struct {
	Spool Spool
	API   func() (API, error) // with the certificate of today
	HTTP  *http.Client        // reaches S3; nil is one with a time limit
	Now   func() time.Time    // nil is time.Now
	Log   *slog.Logger        // nil discards
}

// Bounds.
const (
	atOnce    = 4               // recordings, each of which puts one object at a time, and as many that are claimed alone
	batch     = 20              // objects that are granted at once
	patience  = 2 * time.Minute // for one PUT
	shortest  = time.Second     // between two tries of a recording
	longest   = 5 * time.Minute // likewise
	serious   = 5               // failures in a row, which take some 15 s, after which it is told of
	hopeless  = 8               // refusals in a row after which an object, or a recording, is left alone
	leftAlone = 24 * time.Hour  // for so long
	look      = time.Minute     // between two looks at what waits, and two tries while the API can't be reached
	remember  = time.Hour       // how long it is known that a recording was claimed
	maxAnswer = 64 << 10        // bytes that are read of an answer
	header    = "X-Amz-Checksum-Sha256"
)

// Uploader brings recordings to S3, some at once, each a batch at a time. It is run once.
type Uploader struct {
	config   Config
	trying   map[string]*try // by session
	results  chan result
	running  [2]int // of each kind
	turns    int
	users    map[string]int // the turn of each user's last batch
	enough   [2]time.Time   // until when the API takes no more of each kind from this agent
	tellNext time.Time      // when to say again that S3 takes nothing
	down     time.Time      // until when the API is left alone
	doubt    bool           // whether the API can be reached: then one recording finds out
}

// try is what is known of a recording. While it is busy, it is its worker's.
type try struct {
	busy     bool
	turn     int // of its last batch; who waited longest is next
	used     time.Time
	claim    time.Time // when to say again that the agent is alive
	denied   int       // times in a row that the API refused it
	failed   int       // times in a row that S3 didn't take it
	pause    time.Duration
	next     time.Time
	refusals map[string]int       // by name
	rests    map[string]time.Time // until when an object is left alone
}

// Kinds of work on a recording. That many are uploaded mustn't keep the control plane from knowing of one that begins.
const (
	puts   = iota
	claims // alone
)

// result is how a batch went.
type result struct {
	kind    int
	pending record.Pending
	err     error
}

// New makes an uploader.
func New(c Config) *Uploader {
	if c.HTTP == nil {
		c.HTTP = &http.Client{}
	}
	client := *c.HTTP
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	c.HTTP = &client
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Uploader{config: c, trying: map[string]*try{}, users: map[string]int{}, results: make(chan result)}
}

// Run uploads until the context ends.
func (u *Uploader) Run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			for range u.running[puts] + u.running[claims] {
				<-u.results
			}
			return
		case <-u.config.Spool.Ready():
		case r := <-u.results:
			u.running[r.kind]--
			u.done(ctx, r)
		case <-timer.C:
		}
		timer.Reset(u.start(ctx))
	}
}

// start begins a batch of every recording whose time has come, as far as there are workers, and returns when to look again.
func (u *Uploader) start(ctx context.Context) time.Duration {
	now, wait := u.config.Now(), look
	if left := u.down.Sub(now); left > 0 {
		return left
	}
	pending := u.config.Spool.Pending()
	there := map[string]bool{}
	for _, p := range pending {
		there[p.Session] = true
		if u.trying[p.Session] == nil {
			u.trying[p.Session] = &try{turn: u.turns, refusals: map[string]int{}, rests: map[string]time.Time{}, used: now}
		}
	}
	for session, t := range u.trying {
		if !t.busy && !there[session] && now.Sub(t.used) > remember {
			delete(u.trying, session)
		}
	}
	users := map[string]int{}
	for _, p := range pending {
		users[p.Head.UID] = u.users[p.Head.UID]
	}
	u.users = users // who has nothing here is forgotten
	// Of all users the one who waited longest is next, and then of that user's recordings: many of one keep nobody else's waiting.
	slices.SortStableFunc(pending, func(a, b record.Pending) int {
		return cmp.Or(u.users[a.Head.UID]-u.users[b.Head.UID], u.trying[a.Session].turn-u.trying[b.Session].turn)
	})
	for _, p := range pending {
		t := u.trying[p.Session]
		if left := t.next.Sub(now); left > 0 && !t.busy {
			wait = min(wait, left)
			continue
		}
		if t.busy || !u.due(t, p) {
			continue
		}
		kind := puts
		if len(u.names(t, p)) == 0 && !p.Done {
			kind = claims
		}
		if left := u.limited(t, kind, p, now); left > 0 {
			wait = min(wait, left)
			continue
		}
		if u.running[kind] >= atOnce || u.doubt && u.running[puts]+u.running[claims] > 0 {
			continue // a result comes
		}
		u.turns++
		u.running[kind]++
		t.busy, t.turn, t.used = true, u.turns, now
		u.users[p.Head.UID] = u.turns
		go func() { u.results <- result{kind, p, u.recording(ctx, t, p)} }()
	}
	return wait
}

// limited is how long the API takes no more of what is due for a recording.
func (u *Uploader) limited(t *try, kind int, p record.Pending, now time.Time) (left time.Duration) {
	if !now.Before(t.claim) {
		left = u.enough[claims].Sub(now)
	}
	if kind == puts && len(p.Names) > 0 {
		left = max(left, u.enough[puts].Sub(now))
	}
	return left
}

// tooMuch is an error of the API that refuses more of a kind from this agent, whatever recording it is of.
type tooMuch struct {
	error
	kind int
	wait time.Duration
}

// asked is an error of the API about a call of a kind.
func asked(kind int, doing string, err error) error {
	f, ok := errors.AsType[*fault.Fault](err)
	if err = fmt.Errorf("%s: %w", doing, err); ok && f.Code == fault.RateLimited && f.RetryAfter > 0 {
		return tooMuch{err, kind, min(f.RetryAfter, look)}
	}
	return unreached{err}
}

// unreached is an error of the API, not S3.
type unreached struct{ error }

// Unwrap returns the API's error.
func (e unreached) Unwrap() error { return e.error }

// final reports whether the API refuses a recording as it is, and not only now.
func final(err error) bool {
	return fault.Is(err, fault.BadInput) || fault.Is(err, fault.Denied) || fault.Is(err, fault.NotFound) || fault.Is(err, fault.Conflict) || fault.Is(err, fault.TooLarge)
}

// done decides when a recording is next.
func (u *Uploader) done(ctx context.Context, r result) {
	t := u.trying[r.pending.Session]
	t.busy, t.used = false, u.config.Now()
	if ctx.Err() != nil {
		return
	}
	if limit, ok := errors.AsType[tooMuch](r.err); ok { // the API is there, and what it takes of the other kind goes on
		u.doubt, u.enough[limit.kind] = false, t.used.Add(limit.wait)
		u.config.Log.WarnContext(ctx, "Recordings wait for the API to take more", "session_id", r.pending.Session, "again_in", limit.wait.String(), "error", r.err)
		return
	}
	_, api := errors.AsType[unreached](r.err)
	u.doubt = api && !final(r.err)
	if r.err == nil {
		t.pause, t.next, t.denied, t.failed = 0, time.Time{}, 0, 0
		return
	}
	if u.doubt {
		u.down = t.used.Add(look)
		u.config.Log.WarnContext(ctx, "Recordings wait for the API", "session_id", r.pending.Session, "error", r.err)
		return
	}
	t.pause = min(max(2*t.pause, shortest), longest)
	pause := t.pause/2 + rand.N(t.pause/2+1)
	if !api {
		t.denied = 0
		u.tell(t, r)
	} else if t.denied++; t.denied >= hopeless {
		t.denied, pause = 0, leftAlone
		u.config.Spool.Failed(r.pending, "it", r.err.Error())
	}
	t.next = t.used.Add(pause)
	u.config.Log.WarnContext(ctx, "Recording not uploaded", "session_id", r.pending.Session, "again_in", pause.Round(time.Millisecond).String(), "error", r.err)
}

// tell says, once an hour, that S3 takes nothing: that is in the way of all recordings, and nobody else knows.
func (u *Uploader) tell(t *try, r result) {
	if refused(r.err) { // that is of one object, and told when it is left alone
		return
	}
	if t.failed++; t.failed >= serious && !t.used.Before(u.tellNext) {
		u.tellNext = t.used.Add(time.Hour)
		u.config.Spool.Failed(r.pending, "it", r.err.Error()+"; it is tried again, and this is said once an hour")
	}
}

// due reports whether there is anything to do for a recording now.
func (u *Uploader) due(t *try, p record.Pending) bool {
	return len(p.Names) == 0 && p.Done || len(u.names(t, p)) > 0 || !u.config.Now().Before(t.claim)
}

// names lists what is to be put now: chunks, the oldest first, or the manifest, which completes the recording: after all
// chunks, and not while one of them is left alone.
func (u *Uploader) names(t *try, p record.Pending) (out []string) {
	now := u.config.Now()
	for _, name := range p.Names {
		if until, rests := t.rests[name]; rests {
			if now.Before(until) {
				continue
			}
			delete(t.rests, name)
		}
		if name == recording.ManifestName && (len(out) > 0 || len(t.rests) > 0) {
			continue
		}
		if out = append(out, name); len(out) == batch {
			break
		}
	}
	return out
}

// recording uploads a batch of one recording.
func (u *Uploader) recording(ctx context.Context, t *try, p record.Pending) error {
	if len(p.Names) == 0 && p.Done {
		return u.config.Spool.Forget(p.Session)
	}
	names := u.names(t, p)
	api, err := u.config.API()
	if err != nil {
		return unreached{err}
	}
	if now := u.config.Now(); !now.Before(t.claim) {
		h := p.Head
		if _, err := api.ClaimRecording(ctx, p.Session, wire.RecordingClaim{Secret: p.Secret, User: h.User, UID: h.UID, Login: h.Login, Target: h.Target, Started: h.Started}); err != nil {
			return asked(claims, "claiming it", err)
		}
		t.claim = now.Add(recording.ClaimEvery)
	}
	if len(names) == 0 {
		return nil
	}
	if err := u.batch(ctx, api, t, p, names); err != nil {
		return err
	}
	if names[0] == recording.ManifestName && len(t.rests) == 0 {
		return u.config.Spool.Forget(p.Session)
	}
	return nil
}

// object is one that is to be put. Its bytes are read when it is.
type object struct {
	name string
	size int64
	sum  [sha256.Size]byte
}

// batch puts some objects, and asks about those of which the answer said nothing certain.
func (u *Uploader) batch(ctx context.Context, api API, t *try, p record.Pending, names []string) error {
	var objects []object
	var ask wire.UploadRequest
	for _, name := range names {
		b, err := u.config.Spool.Read(p.Session, name)
		if err != nil {
			return err
		}
		o := object{name, int64(len(b)), sha256.Sum256(b)}
		objects = append(objects, o)
		ask.Objects = append(ask.Objects, wire.UploadObject{Name: name, Size: o.size, Sha256: o.sum[:]})
	}
	grants, err := api.GrantUploads(ctx, p.Session, ask)
	if err != nil {
		if fault.Is(err, fault.NotFound) {
			t.claim = time.Time{} // it must be claimed again
		}
		return asked(puts, "asking where to put it", err)
	}
	granted := map[string]wire.UploadGrant{}
	for _, g := range grants.Grants {
		granted[g.Name] = g
	}
	unsure := map[string]error{}
	var failed []error
	begun := u.config.Now()
	for _, o := range objects {
		if u.config.Now().Sub(begun) >= patience { // others wait, and are to be claimed in time
			break
		}
		held, err := u.put(ctx, granted[o.name], p.Session, o)
		switch {
		case held && o.name != recording.ManifestName:
			if err := u.held(t, p, o); err != nil {
				failed = append(failed, err)
			}
		default: // of a manifest the function is told in any case: it looks at it; of a refusal, since it counts what S3 doesn't get
			unsure[o.name] = err
		}
	}
	if err := ctx.Err(); len(unsure) > 0 && err != nil { // the next start asks
		failed = append(failed, err)
	} else if len(unsure) > 0 {
		failed = append(failed, u.ask(ctx, api, t, p, objects, unsure))
	}
	return errors.Join(failed...)
}

// ask asks what S3 holds of that of which it isn't known, and lets go of what is there byte for byte. Another object under
// the name is never ours to replace.
func (u *Uploader) ask(ctx context.Context, api API, t *try, p record.Pending, objects []object, unsure map[string]error) error {
	var r wire.HeldRequest
	for _, o := range objects {
		if _, ok := unsure[o.name]; ok {
			r.Names = append(r.Names, o.name)
		}
	}
	answer, err := api.ConfirmUploads(ctx, p.Session, r)
	there := map[string]wire.UploadObject{}
	for _, h := range answer.Objects {
		there[h.Name] = h
	}
	var failed []error
	for _, o := range objects {
		why, asked := unsure[o.name]
		h, ok := there[o.name]
		switch {
		case !asked:
		case !ok && refused(why): // which is known whatever was answered
			failed = append(failed, u.refusal(t, p, o, why))
		case err != nil:
		case !ok:
			failed = append(failed, fmt.Errorf("S3 doesn't have %s: %w", o.name, cmp.Or(why, errNotHeld)))
		case h.Size == o.size && bytes.Equal(h.Sha256, o.sum[:]):
			if err := u.held(t, p, o); err != nil {
				failed = append(failed, err)
			}
		default:
			t.rests[o.name] = u.config.Now().Add(leftAlone)
			u.config.Spool.Failed(p, o.name, "something else is there under its name")
		}
	}
	switch {
	case err == nil:
	case fault.Is(err, fault.Internal): // the API is there, and S3 tells it as little: this goes on as where S3 alone is in the way
		failed = append(failed, fmt.Errorf("asking what S3 holds: %w", err))
	default:
		failed = append(failed, asked(puts, "asking what S3 holds", err))
	}
	return errors.Join(failed...)
}

var errNotHeld = errors.New("though it said so")

func (u *Uploader) held(t *try, p record.Pending, o object) error {
	delete(t.refusals, o.name)
	return u.config.Spool.Held(p.Session, o.name)
}

// status is an answer of S3 that isn't 200.
type status struct {
	code int
	body string
}

func (s *status) Error() string { return fmt.Sprintf("S3 answered %d: %s", s.code, s.body) }

// reason is what S3 says of an error, without what it repeats of the request and its signature.
func reason(body []byte) string {
	var said struct{ Code, Message string }
	if err := xml.Unmarshal(body, &said); err != nil || said.Code == "" {
		return "without a reason"
	}
	return fmt.Sprintf("%.64s: %.256s", said.Code, said.Message)
}

// refused reports whether S3 refuses the object as it is, so that trying again soon won't help.
func refused(err error) bool {
	s, ok := errors.AsType[*status](err)
	return ok && s.code >= 400 && s.code < 500 && s.code != http.StatusForbidden && s.code != http.StatusConflict && s.code != http.StatusPreconditionFailed &&
		s.code != http.StatusRequestTimeout && s.code != http.StatusTooManyRequests
}

// refusal counts S3's refusals of an object, and leaves it alone for a day when there were too many.
func (u *Uploader) refusal(t *try, p record.Pending, o object, err error) error {
	if t.refusals[o.name]++; t.refusals[o.name] < hopeless {
		return err
	}
	t.rests[o.name] = u.config.Now().Add(leftAlone)
	delete(t.refusals, o.name)
	u.config.Spool.Failed(p, o.name, err.Error())
	return nil
}

// put puts an object and reports whether S3 says that it has it: by the checksum in the answer.
func (u *Uploader) put(ctx context.Context, g wire.UploadGrant, session string, o object) (bool, error) {
	if g.URL == "" {
		return false, fault.Newf(fault.Internal, "update the control plane", "no way to put %s was granted", o.name)
	}
	b, err := u.config.Spool.Read(session, o.name)
	if err != nil {
		return false, err
	}
	if sha256.Sum256(b) != o.sum {
		return false, fmt.Errorf("%s changed while it was uploaded", o.name)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPut, g.URL, bytes.NewReader(b))
	if err != nil {
		return false, err
	}
	for name, value := range g.Headers {
		r.Header.Set(name, value)
	}
	answer, err := u.config.HTTP.Do(r)
	if failed, ok := errors.AsType[*url.Error](err); ok { // it has the URL, and with it the grant, which is nobody's else to see
		return false, fmt.Errorf("putting %s to %s: %w", o.name, r.URL.Host, failed.Err)
	}
	if err != nil {
		return false, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if answer.StatusCode != http.StatusOK {
		return false, &status{answer.StatusCode, reason(text)}
	}
	if err != nil {
		return false, err
	}
	if answer.Header.Get(header) != base64.StdEncoding.EncodeToString(o.sum[:]) {
		return false, errors.New("S3 didn't say what it has")
	}
	return true, nil
}
