// Package upload brings recordings from the agent's spool to S3, and lets go of nothing that S3 doesn't provably hold: an
// answer to a PUT that repeats the checksum says so, or functions/recording, which asks S3. That something is there
// already proves nothing of what it is.
//
// Its entry point is [New].
package upload

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
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
	batch     = 20              // objects that are granted at once
	patience  = 2 * time.Minute // for one PUT
	shortest  = time.Second     // between two tries of a recording
	longest   = 5 * time.Minute // likewise
	hopeless  = 8               // refusals in a row after which an object is left alone
	leftAlone = 24 * time.Hour  // for so long
	look      = time.Minute     // between two looks at what waits
	maxAnswer = 64 << 10        // bytes that are read of an answer
	header    = "X-Amz-Checksum-Sha256"
)

// Uploader brings recordings to S3, one after another. It is for one goroutine.
type Uploader struct {
	config Config
	trying map[string]*try // by session
}

// try is what is known of a recording that could not be uploaded, or not wholly.
type try struct {
	claimed  bool
	pause    time.Duration
	next     time.Time
	refusals map[string]int       // by name
	rests    map[string]time.Time // until when an object is left alone
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
	return &Uploader{config: c, trying: map[string]*try{}}
}

// Run uploads until the context ends.
func (u *Uploader) Run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-u.config.Spool.Ready():
		case <-timer.C:
		}
		timer.Reset(u.round(ctx))
	}
}

// round tries every recording whose time has come, and returns when there will be something to do again.
func (u *Uploader) round(ctx context.Context) time.Duration {
	wait := look
	there := map[string]bool{}
	for _, p := range u.config.Spool.Pending() {
		if ctx.Err() != nil {
			return wait
		}
		there[p.Session] = true
		t := u.trying[p.Session]
		if t == nil {
			t = &try{refusals: map[string]int{}, rests: map[string]time.Time{}}
			u.trying[p.Session] = t
		}
		if left := t.next.Sub(u.config.Now()); left > 0 {
			wait = min(wait, left)
			continue
		}
		if err := u.recording(ctx, t, p); err != nil && ctx.Err() == nil {
			t.pause = min(max(2*t.pause, shortest), longest)
			pause := t.pause/2 + rand.N(t.pause/2+1)
			t.next = u.config.Now().Add(pause)
			wait = min(wait, pause)
			u.config.Log.WarnContext(ctx, "Recording not uploaded", "session_id", p.Session, "again_in", pause.Round(time.Millisecond).String(), "error", err)
			continue
		}
		t.pause, t.next = 0, time.Time{}
	}
	for session := range u.trying {
		if !there[session] {
			delete(u.trying, session)
		}
	}
	return wait
}

// recording uploads what there is of one recording.
func (u *Uploader) recording(ctx context.Context, t *try, p record.Pending) error {
	if len(p.Names) == 0 {
		return u.config.Spool.Forget(p.Session)
	}
	chunks, manifest := u.due(t, p)
	if len(chunks) == 0 && !manifest {
		return nil
	}
	api, err := u.config.API()
	if err != nil {
		return err
	}
	if !t.claimed {
		h := p.Head
		if _, err := api.ClaimRecording(ctx, p.Session, wire.RecordingClaim{Secret: p.Secret, User: h.User, UID: h.UID, Login: h.Login, Target: h.Target, Started: h.Started}); err != nil {
			return fmt.Errorf("claiming it: %w", err)
		}
		t.claimed = true
	}
	for names := range slices.Chunk(chunks, batch) {
		if err := u.batch(ctx, api, t, p, names); err != nil {
			return err
		}
	}
	if !manifest || len(t.rests) > 0 {
		return nil
	}
	if err := u.batch(ctx, api, t, p, []string{recording.ManifestName}); err != nil || len(t.rests) > 0 {
		return err
	}
	return u.config.Spool.Forget(p.Session)
}

// due lists the chunks that may be tried now, and says whether the manifest may be, which completes the recording: after all
// chunks, and not while one of them is left alone.
func (u *Uploader) due(t *try, p record.Pending) (chunks []string, manifest bool) {
	now := u.config.Now()
	for _, name := range p.Names {
		if until, rests := t.rests[name]; rests && now.Before(until) {
			continue
		}
		delete(t.rests, name)
		if name == recording.ManifestName {
			manifest = true
			continue
		}
		chunks = append(chunks, name)
	}
	return chunks, manifest && len(t.rests) == 0
}

// object is one that is to be put.
type object struct {
	name string
	body []byte
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
		o := object{name, b, sha256.Sum256(b)}
		objects = append(objects, o)
		ask.Objects = append(ask.Objects, wire.UploadObject{Name: name, Size: int64(len(b)), Sha256: o.sum[:]})
	}
	grants, err := api.GrantUploads(ctx, p.Session, ask)
	if err != nil {
		return fmt.Errorf("asking where to put it: %w", err)
	}
	granted := map[string]wire.UploadGrant{}
	for _, g := range grants.Grants {
		granted[g.Name] = g
	}
	var unsure wire.HeldRequest
	var failed error
	for _, o := range objects {
		held, err := u.put(ctx, granted[o.name], o)
		switch {
		case held && o.name != recording.ManifestName:
			if err := u.held(t, p, o); err != nil {
				return err
			}
		case refused(err):
			failed = errors.Join(failed, u.refusal(t, p, o, err))
		default: // of a manifest the function is told in any case: it looks at it
			failed = errors.Join(failed, err)
			unsure.Names = append(unsure.Names, o.name)
		}
	}
	if len(unsure.Names) == 0 {
		return failed
	}
	answer, err := api.ConfirmUploads(ctx, p.Session, unsure)
	if err != nil {
		return errors.Join(failed, fmt.Errorf("asking what S3 holds: %w", err))
	}
	return u.settle(t, p, objects, unsure.Names, answer, failed)
}

// settle lets go of what S3 holds, byte for byte, of that which was asked for. Another object under the name is never ours
// to replace.
func (u *Uploader) settle(t *try, p record.Pending, objects []object, asked []string, answer wire.HeldObjects, failed error) error {
	there := map[string]wire.UploadObject{}
	for _, h := range answer.Objects {
		there[h.Name] = h
	}
	for _, o := range objects {
		h, ok := there[o.name]
		switch {
		case !slices.Contains(asked, o.name):
		case !ok:
			failed = errors.Join(failed, fmt.Errorf("S3 doesn't have %s", o.name))
		case h.Size == int64(len(o.body)) && bytes.Equal(h.Sha256, o.sum[:]):
			if err := u.held(t, p, o); err != nil {
				return err
			}
			if len(asked) == 1 { // whatever the answer to the PUT was, it is there
				failed = nil
			}
		default:
			t.rests[o.name] = u.config.Now().Add(leftAlone)
			u.config.Spool.Failed(p, o.name, "something else is there under its name")
		}
	}
	return failed
}

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

// refused reports whether S3 refuses the object as it is, so that trying again soon won't help.
func refused(err error) bool {
	s, ok := errors.AsType[*status](err)
	return ok && s.code >= 400 && s.code < 500 && s.code != http.StatusForbidden && s.code != http.StatusConflict && s.code != http.StatusPreconditionFailed &&
		s.code != http.StatusRequestTimeout && s.code != http.StatusTooManyRequests
}

// refusal counts one, and gives an object up for a day when there were many.
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
func (u *Uploader) put(ctx context.Context, g wire.UploadGrant, o object) (bool, error) {
	if g.URL == "" {
		return false, fault.Newf(fault.Internal, "update the control plane", "no way to put %s was granted", o.name)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPut, g.URL, bytes.NewReader(o.body))
	if err != nil {
		return false, err
	}
	for name, value := range g.Headers {
		r.Header.Set(name, value)
	}
	answer, err := u.config.HTTP.Do(r)
	if err != nil {
		return false, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if answer.StatusCode != http.StatusOK {
		return false, &status{answer.StatusCode, string(text[:min(len(text), 512)])}
	}
	if err != nil {
		return false, err
	}
	if answer.Header.Get(header) != base64.StdEncoding.EncodeToString(o.sum[:]) {
		return false, errors.New("S3 didn't say what it has")
	}
	return true, nil
}
