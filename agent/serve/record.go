package serve

import (
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/stile-dev/stile/agent/record"
	"github.com/stile-dev/stile/agent/session"
	"github.com/stile-dev/stile/agent/state"
	"github.com/stile-dev/stile/agent/upload"
	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/client"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/joiner"
	"github.com/stile-dev/stile/pkg/recording"
)

// records is the spool of recordings in the form that sessions need.
type records struct{ spool *record.Spool }

// Begin begins a recording.
func (r records) Begin(head recording.Head, secret []byte, mode string, fail func(*fault.Fault)) (session.Recording, error) {
	begun, err := r.spool.Begin(record.Begin{Head: head, Secret: secret, Mode: mode, Fail: fail})
	if err != nil && (errors.Is(err, record.ErrFull) || errors.Is(err, syscall.ENOSPC)) {
		f := fault.From(err)
		return nil, f.Because(errors.Join(session.ErrFull, f.Unwrap()))
	}
	if err != nil {
		return nil, err
	}
	return recorder{begun}, nil
}

// recorder is a recording in the form that sessions need.
type recorder struct{ *record.Recording }

// Output keeps what the session is about to show.
func (r recorder) Output(s session.Stream, p []byte) error { return r.Recording.Output(byte(s), p) }

// openRecords opens what sessions showed and S3 doesn't hold yet.
func (a *agent) openRecords() (err error) {
	a.records, err = record.Open(record.Config{
		Dir: a.dir.Path(state.Recordings), Limit: a.config.RecordingsSize(), Sign: a.signManifest, Told: a.recorded, Log: a.log,
	})
	return err
}

// signer is the key of a certificate; nil is none.
func signer(c *tls.Certificate) (crypto.Signer, error) {
	if c == nil {
		return nil, fault.New(fault.Unauthenticated, "the agent has no certificate", "check the agent's log for why it did not join")
	}
	key, ok := c.PrivateKey.(crypto.Signer)
	if !ok {
		return nil, fault.New(fault.Internal, "the agent's key can't sign", "remove the state directory and join again")
	}
	return key, nil
}

// uploader brings recordings to S3.
func (a *agent) uploader() *upload.Uploader {
	as := &caller{url: a.config.API, way: &http.Client{Transport: transport(a.config.Proxy)}, certificate: a.certificate}
	return upload.New(upload.Config{
		Spool: a.records, Log: a.log, API: as.api, HTTP: &http.Client{Transport: transport("")}, // proxies reach the API alone
	})
}

// caller calls the API with the certificate of today.
type caller struct {
	url         string
	way         *http.Client
	certificate func() *tls.Certificate

	mu   sync.Mutex
	cert *tls.Certificate
	last *client.Client // with cert
}

func (c *caller) api() (upload.API, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	cert := c.certificate()
	if cert != nil && cert == c.cert {
		return c.last, nil
	}
	key, err := signer(cert)
	if err != nil {
		return nil, err
	}
	made, err := client.New(client.Config{URL: c.url, HTTP: c.way, Key: key, Certificate: cert.Certificate[0]})
	if err == nil {
		c.cert, c.last = cert, made
	}
	return made, err
}

// signManifest signs a manifest as the agent that this is now.
func (a *agent) signManifest(m recording.Manifest) ([]byte, error) {
	return signAs(a.keeper.Current(), m)
}

// signAs signs a manifest with a credential. One that ended before the session did proves nothing of it, and another comes once
// the control plane can be reached: a manifest can't be replaced.
func signAs(c *joiner.Credential, m recording.Manifest) ([]byte, error) {
	if c == nil {
		c = &joiner.Credential{}
	}
	key, err := signer(c.TLS)
	if err != nil {
		return nil, err
	}
	if !m.Ended.Before(c.Until) {
		return nil, fault.New(fault.Unavailable, "the agent's certificate had expired when the session ended", "restore the agent's way to the API, so that it can renew")
	}
	m.Agent = c.Host.ID // it may have joined again since, and have another id
	return m.Sign(rand.Reader, key, c.TLS.Certificate[0])
}

// recorded reports what happened to a recording. Pieces that can't be told of one by one are proven by those after them: each
// holds the hash of the one before.
func (a *agent) recorded(e record.Event) {
	kinds := map[record.Kind]audit.Type{
		record.Sealed: audit.RecordingChunk, record.Ended: audit.RecordingEnd, record.Damaged: audit.RecordingDamaged, record.Torn: audit.SessionEnd,
	}
	event := audit.New(kinds[e.Kind], rand.Reader, time.Now())
	event.Actor, event.SessionID, event.Scope = "user/"+e.Head.User, e.Head.Session, a.host().Scope
	event.TargetKind, event.Target, _ = strings.Cut(e.Head.Target, "/")
	event.Data = map[string]string{"uid": e.Head.UID}
	keep := a.spool.Record
	switch e.Kind {
	case record.Sealed:
		event.Data["seq"], event.Data["sha256"], event.Data["bytes"] = strconv.Itoa(e.Chunk), e.Hash, strconv.FormatInt(e.Bytes, 10)
		if e.Size > 0 {
			event.Data["size"] = strconv.FormatInt(e.Size, 10)
		}
		keep = a.spool.Note
	case record.Ended:
		m := e.Manifest
		event.Data["chunks"], event.Data["last"], event.Data["bytes"] = strconv.Itoa(m.Chunks), m.Last, strconv.FormatInt(m.Bytes, 10)
		if m.Unrecorded != nil {
			event.Data["unrecorded_bytes"] = strconv.FormatInt(m.Unrecorded.Bytes, 10)
		}
		if len(m.Missing) > 0 {
			event.Data["incomplete"] = strconv.Itoa(len(m.Missing))
		}
	case record.Damaged:
		event.Outcome, event.Reason = audit.Failure, e.Why[:min(len(e.Why), 1<<10)]
	case record.Torn:
		event.Outcome, event.Reason = audit.Failure, "the agent ended while the session ran"
	}
	if err := keep(event); err != nil {
		a.log.Warn("Event about a recording not kept", "type", string(event.Type), "session_id", event.SessionID, "error", err)
	}
}
