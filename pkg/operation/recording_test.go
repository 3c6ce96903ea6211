package operation_test

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stile-dev/stile/pkg/archive"
	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/operation/roster"
	"github.com/stile-dev/stile/pkg/recording"
	"github.com/stile-dev/stile/pkg/resource"
	"github.com/stile-dev/stile/pkg/wire"
)

// tapes are recordings, their bucket and the ledger, in memory.
type tapes struct {
	entries map[string]archive.Entry
	objects map[string][]byte
	events  []audit.Event
	granted []string // keys
	leases  []archive.Lease
	fail    error // of the ledger
}

func newTapes() *tapes {
	return &tapes{entries: map[string]archive.Entry{}, objects: map[string][]byte{}}
}

func (p *tapes) Take(context.Context, string, int, time.Time) error { return nil }

func (p *tapes) Create(_ context.Context, e archive.Entry) (archive.Entry, error) {
	if there, ok := p.entries[e.Session]; ok {
		return there, nil
	}
	p.entries[e.Session] = e
	return e, nil
}

func (p *tapes) Get(_ context.Context, session string) (archive.Entry, error) {
	e, ok := p.entries[session]
	if !ok {
		return e, archive.ErrNone
	}
	return e, nil
}

func (p *tapes) Replace(_ context.Context, was, is archive.Entry) error {
	if p.entries[is.Session].Agent != was.Agent {
		return errors.New("it is another's")
	}
	p.entries[is.Session] = is
	return nil
}

func (p *tapes) Hold(_ context.Context, l archive.Lease) error {
	p.leases = append(p.leases, l)
	return nil
}

// sorted are entries from one id and below another, the newest first.
func (p *tapes) sorted(from, below string, limit int, wanted func(archive.Entry) bool) (out []archive.Entry, more bool, _ error) {
	for _, e := range p.entries {
		if e.Session >= from && e.Session < below && wanted(e) {
			out = append(out, e)
		}
	}
	slices.SortFunc(out, func(a, b archive.Entry) int { return strings.Compare(b.Session, a.Session) })
	return out[:min(len(out), limit)], len(out) > limit, nil
}

func (p *tapes) Of(_ context.Context, user, from, below string, limit int) ([]archive.Entry, bool, error) {
	return p.sorted(from, below, limit, func(e archive.Entry) bool { return e.User == user })
}

func (p *tapes) Day(_ context.Context, day time.Time, from, below string, limit int) ([]archive.Entry, bool, error) {
	return p.sorted(from, below, limit, func(e archive.Entry) bool {
		at, err := identity.SessionTime(e.Session)
		return err == nil && at.Truncate(24*time.Hour).Equal(day)
	})
}

func (p *tapes) Grant(_ context.Context, key string, _ int64, _ []byte) (string, map[string]string, error) {
	p.granted = append(p.granted, key)
	return "https://s3.example/" + key, map[string]string{"If-None-Match": "*"}, nil
}

func (p *tapes) Head(_ context.Context, key string) (archive.Object, bool, error) {
	b, there := p.objects[key]
	sum := sha256.Sum256(b)
	return archive.Object{Size: int64(len(b)), SHA256: sum[:]}, there, nil
}

// reel is the bucket: its Get is of objects.
type reel struct{ *tapes }

func (r reel) Get(_ context.Context, key string, _ int64) ([]byte, error) { return r.objects[key], nil }

func (p *tapes) Read(_ context.Context, prefix, _ string) (out []wire.RecordingObject, next string, _ error) {
	for key := range p.objects {
		if name, ok := strings.CutPrefix(key, prefix); ok {
			out = append(out, wire.RecordingObject{Name: name, URL: "https://s3.example/" + key})
		}
	}
	return out, next, nil
}

func (p *tapes) Append(_ context.Context, events ...audit.Event) error {
	if p.fail != nil {
		return p.fail
	}
	for _, e := range events {
		if err := e.Validate(); err != nil {
			return err
		}
	}
	p.events = append(p.events, events...)
	return nil
}

// uidOf is the uid of a user of that name.
func uidOf(user string) string {
	return fmt.Sprintf("usr_%.32x", sha256.Sum256([]byte(user)))[:36]
}

// Session is the ledger of functions/api: of every session it has an event of ada's, one of bob's, and two of people who had the
// name bob before or might have had it.
func (s *shelf) Session(_ context.Context, session, _ string, _ int, _ []document.Trust) (out []wire.LedgerEvent, next string, _ error) {
	for _, e := range []audit.Event{
		{Actor: "user/ada", Data: map[string]string{"uid": uidOf("ada")}},
		{Actor: "user/bob", Data: map[string]string{"uid": uidOf("bob")}},
		{Actor: "user/bob", Data: map[string]string{"uid": uidOf("robert")}},
		{Actor: "user/bob"},
	} {
		e.Scope, e.SessionID = "/a", session
		b, err := json.Marshal(e)
		if err != nil {
			return nil, "", err
		}
		out = append(out, wire.LedgerEvent{Event: string(b), Standing: "proven"})
	}
	return out, "", nil
}

// decided is the one decision that the ledger has events of.
const decided = "dec_01hv0000000000000000000000"

// Decision is the same ledger: of decided it has what Session has of every session.
func (s *shelf) Decision(ctx context.Context, decision, after string, limit int, trust []document.Trust) ([]wire.LedgerEvent, string, error) {
	if decision != decided {
		return nil, "", nil
	}
	return s.Session(ctx, "", after, limit, trust)
}

// Received is the same ledger: a day's events, one an hour, of which the caller's wanted are on pages of two.
func (s *shelf) Received(_ context.Context, span roster.Span, want func(audit.Event) bool, _ []document.Trust) (out []wire.LedgerEvent, next string, _ error) {
	s.span = span
	for n := range 24 {
		e := audit.Event{ID: fmt.Sprintf("%02d", n), Type: audit.SessionStart, Actor: "user/ada", Data: map[string]string{"uid": uidOf("ada")}, Scope: "/a", TargetKind: "node", Target: "node-1", Outcome: audit.Success}
		if n%2 == 1 {
			e.Type, e.Actor, e.Data, e.Outcome = audit.SessionDenied, "user/bob", map[string]string{"uid": uidOf("bob")}, audit.Denied
		}
		if e.ID <= span.After || !want(e) {
			continue
		}
		b, err := json.Marshal(e)
		if err != nil {
			return nil, "", err
		}
		if out = append(out, wire.LedgerEvent{Event: string(b), Standing: "proven"}); len(out) == 2 {
			return out, e.ID, nil
		}
	}
	return out, "", nil
}

// Reached is a minute for each event that is behind it.
func (*shelf) Reached(position string) (time.Time, bool) {
	n, err := strconv.Atoi(position)
	return time.Unix(int64(n)*60, 0).UTC(), err == nil
}

const otherAgent = "agt_01hv0000000000000000000009"

// other is the credential of another agent, which serves node-2.
func (s *site) other() credential {
	k, d := s.Host(identity.Host{Kind: identity.KindAgent, ID: otherAgent, Token: "nodes", Targets: []identity.Target{{Kind: "node", Name: "node-2"}}}, s.Now.Add(time.Hour))
	return credential{k, d}
}

// session makes a session of a user and claims its recording as the agent.
func (s *site) session(user string) (id string, secret []byte) { return s.sessionAt(user, s.Now) }

func (s *site) sessionAt(user string, at time.Time) (id string, secret []byte) {
	s.t.Helper()
	id, secret = identity.NewSession(rand.Reader, at)
	if status, p, _ := s.call(s.agent(), http.MethodPut, "/v1/host/recordings/"+id, s.claimAt(user, "node/node-1", secret, at)); status != http.StatusOK {
		s.t.Fatalf("claiming it: %d %+v", status, p)
	}
	return id, secret
}

func (s *site) claim(user, target string, secret []byte) string {
	return s.claimAt(user, target, secret, s.Now)
}

func (s *site) claimAt(user, target string, secret []byte, at time.Time) string {
	b, err := json.Marshal(wire.RecordingClaim{Secret: secret, User: user, UID: uidOf(user), Login: "root", Target: target, Started: at})
	if err != nil {
		s.t.Fatal(err)
	}
	return string(b)
}

const oneObject = `{"objects":[{"name":"00000000.zst","size":5,"sha256":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}]}`

func TestSec_S44_ARecordingIsReachedByItsAgentAndItsReadersAlone(t *testing.T) {
	s := newSite(t, resource.Role{Metadata: resource.Metadata{Name: "viewer", Scope: "/"}, Spec: resource.RoleSpec{Allow: resource.RoleBlock{Rules: []resource.Rule{{Resources: []string{"*"}, Verbs: []string{"list", "read"}}}}}})
	id, secret := s.session("bob")
	stolen, _ := identity.NewSession(rand.Reader, s.Now)
	if status, _, _ := s.call(s.other(), http.MethodPut, "/v1/host/recordings/"+id, s.claim("bob", "node/node-2", make([]byte, 16))); status != http.StatusForbidden {
		t.Errorf("claimed without the secret: %d", status)
	}
	for name, claim := range map[string]string{
		"a node that it doesn't serve": s.claim("bob", "node/node-2", secret),
		"another session's secret":     s.claim("bob", "node/node-1", make([]byte, 16)),
		"a user with a newline":        s.claim("bob\neve", "node/node-1", secret),
		"a user who has no name":       s.claim("", "node/node-1", secret),
		"a name of a thousand letters": s.claim(strings.Repeat("a", 1000), "node/node-1", secret),
		"a secret of another length":   s.claim("bob", "node/node-1", secret[:15]),
		"a target that is none":        s.claim("bob", "node-1", secret),
	} {
		if status, p, _ := s.call(s.agent(), http.MethodPut, "/v1/host/recordings/"+id, claim); status != http.StatusForbidden && status != http.StatusBadRequest || p.Hint == "" {
			t.Errorf("%s: %d %+v", name, status, p)
		}
	}
	if status, _, _ := s.call(s.agent(), http.MethodPut, "/v1/host/recordings/"+stolen, s.claim("bob", "node/node-1", secret)); status != http.StatusForbidden {
		t.Error("the secret of one session claims another")
	}
	held := `{"names":["00000000.zst"]}`
	proxyKey, proxyDER := s.Host(identity.Host{Kind: identity.KindProxy, ID: "prx_01hv0000000000000000000000"}, s.Now.Add(time.Hour))
	for _, c := range []struct {
		who          string
		as           credential
		grant, state int
		see, read    int
	}{
		{"its agent", s.agent(), 200, 200, 401, 401},
		{"another agent", s.other(), 404, 404, 401, 401},
		{"a proxy", credential{proxyKey, proxyDER}, 403, 403, 401, 401},
		{"its user", s.user("bob", "access"), 401, 401, 200, 200},
		{"another user", s.user("eve", "access"), 401, 401, 404, 404},
		{"somebody who reads everything", s.user("carol", "viewer"), 401, 401, 200, 200},
		{"nobody", credential{}, 401, 401, 401, 401},
	} {
		before := len(s.tapes.events)
		for path, want := range map[string]int{"/v1/host/recordings/" + id + "/uploads": c.grant, "/v1/host/recordings/" + id + "/held": c.state, "/v1/recordings/" + id + "/reads": c.read} {
			body := map[string]string{"uploads": oneObject, "held": held, "reads": "{}"}[path[strings.LastIndexByte(path, '/')+1:]]
			if status, p, _ := s.call(c.as, http.MethodPost, path, body); status != want {
				t.Errorf("%s: POST %s: %d %+v, want %d", c.who, path, status, p, want)
			}
		}
		if status, p, _ := s.call(c.as, http.MethodGet, "/v1/recordings/"+id, ""); status != c.see {
			t.Errorf("%s: GET: %d %+v, want %d", c.who, status, p, c.see)
		}
		if reads := len(s.tapes.events) - before; (c.read == 200) != (reads == 1) {
			t.Errorf("%s: %d events about reading", c.who, reads)
		}
	}
	// An agent that joined again shows the secret and goes on; the former id has nothing more.
	key, der := s.Host(identity.Host{Kind: identity.KindAgent, ID: otherAgent, Token: "nodes", Targets: []identity.Target{{Kind: "node", Name: "node-1"}}}, s.Now.Add(time.Hour))
	again := credential{key, der}
	if status, p, _ := s.call(again, http.MethodPut, "/v1/host/recordings/"+id, s.claim("bob", "node/node-1", secret)); status != http.StatusOK {
		t.Errorf("joined again: %d %+v", status, p)
	}
	if status, _, _ := s.call(again, http.MethodPost, "/v1/host/recordings/"+id+"/uploads", oneObject); status != http.StatusOK {
		t.Errorf("joined again, uploads: %d", status)
	}
	if status, _, _ := s.call(s.agent(), http.MethodPost, "/v1/host/recordings/"+id+"/uploads", oneObject); status != http.StatusNotFound {
		t.Errorf("the former id: %d", status)
	}
	prefix, err := recording.Prefix(id)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range s.tapes.granted {
		if key != prefix+"00000000.zst" {
			t.Errorf("granted %s", key)
		}
	}
}

func TestWhatCanBeNoObjectOfARecordingIsNotGranted(t *testing.T) {
	s := newSite(t)
	id, _ := s.session("bob")
	const sum = `"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="`
	many := `{"objects":[` + strings.Repeat(`{"name":"00000000.zst","size":5,"sha256":`+sum+`},`, 20) + `{"name":"00000000.zst","size":5,"sha256":` + sum + `}]}`
	for name, body := range map[string]string{
		"another name":     `{"objects":[{"name":"../00000000.zst","size":5,"sha256":` + sum + `}]}`,
		"too large":        `{"objects":[{"name":"00000000.zst","size":2097153,"sha256":` + sum + `}]}`,
		"a large manifest": `{"objects":[{"name":"manifest.json","size":65537,"sha256":` + sum + `}]}`,
		"nothing":          `{"objects":[{"name":"00000000.zst","size":0,"sha256":` + sum + `}]}`,
		"a short hash":     `{"objects":[{"name":"00000000.zst","size":5,"sha256":"AAAA"}]}`,
		"none":             `{"objects":[]}`,
		"too many":         many,
	} {
		if status, p, _ := s.call(s.agent(), http.MethodPost, "/v1/host/recordings/"+id+"/uploads", body); status != http.StatusBadRequest || p.Hint == "" {
			t.Errorf("%s: %d %+v", name, status, p)
		}
	}
	if len(s.tapes.granted) != 0 {
		t.Errorf("granted %v", s.tapes.granted)
	}
}

func TestNobodyReadsBeforeTheLedgerHoldsIt(t *testing.T) {
	s := newSite(t)
	id, _ := s.session("bob")
	s.tapes.fail = errors.New("throttled")
	if status, _, body := s.call(s.user("bob", "access"), http.MethodPost, "/v1/recordings/"+id+"/reads", "{}"); status == http.StatusOK || strings.Contains(body, "s3.example") {
		t.Errorf("%d %s", status, body)
	}
}

func TestSec_S44_NoCursorReadsWithoutAnEvent(t *testing.T) {
	s := newSite(t)
	id, _ := s.session("bob")
	for _, after := range []string{"x", " ", "! null", "00000000.zst v1", "\xff", "\n"} {
		before := len(s.tapes.events)
		body := fmt.Sprintf(`{"cursor":%q}`, base64.RawURLEncoding.EncodeToString([]byte(after)))
		if status, p, _ := s.call(s.user("bob", "access"), http.MethodPost, "/v1/recordings/"+id+"/reads", body); status != http.StatusOK || len(s.tapes.events) != before+1 {
			t.Errorf("after %q: %d %+v, %d events", after, status, p, len(s.tapes.events)-before)
		}
	}
}

func TestAManifestThatIsHeldCompletesItsRecording(t *testing.T) {
	s := newSite(t)
	id, _ := s.session("bob")
	prefix, err := recording.Prefix(id)
	if err != nil {
		t.Fatal(err)
	}
	agent := s.agent()
	manifest := func(session string) []byte {
		m := recording.Manifest{V: 1, Session: session, Agent: agentOnline, Started: s.Now, Ended: s.Now.Add(time.Minute), Chunks: 3, Last: strings.Repeat("a", 64), Bytes: 77}
		b, err := m.Sign(rand.Reader, crypto.Signer(agent.key), agent.der)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	ask := func() int {
		status, _, _ := s.call(agent, http.MethodPost, "/v1/host/recordings/"+id+"/held", `{"names":["manifest.json"]}`)
		return status
	}
	if status := ask(); status != http.StatusOK || s.tapes.entries[id].Complete {
		t.Errorf("%d, and complete without a manifest", status)
	}
	late := forged(t, agent, fmt.Sprintf(`{"v":1,"session":%q,"agent":%q,"started":"2026-01-01T00:00:00Z","ended":"9999-12-31T23:59:59-10:00"}`, id, agentOnline))
	another, _ := identity.NewSession(rand.Reader, s.Now)
	for name, b := range map[string][]byte{
		"another session's":   manifest(another),
		"one that is altered": []byte(strings.Replace(string(manifest(id)), `"bytes":77`, `"bytes":78`, 1)),
		"none":                []byte("{}"),
		"one that ends when no year can be written": late,
	} {
		s.tapes.objects[prefix+"manifest.json"] = b
		if status := ask(); status != http.StatusConflict || s.tapes.entries[id].Complete {
			t.Errorf("%s: %d", name, status)
		}
	}
	s.tapes.objects[prefix+"manifest.json"] = manifest(id)
	if status := ask(); status != http.StatusOK {
		t.Errorf("%d", status)
	}
	if status, p, _ := s.call(s.user("bob", "access"), http.MethodGet, "/v1/recordings/"+id, ""); status != http.StatusOK {
		t.Errorf("its user sees %d %+v", status, p)
	}
	for name, want := range map[string]int{"00000002.zst": http.StatusOK, "manifest.json": http.StatusOK, "00000003.zst": http.StatusConflict} { // who didn't hear the answer asks again
		body := strings.Replace(oneObject, "00000000.zst", name, 1)
		if status, p, _ := s.call(agent, http.MethodPost, "/v1/host/recordings/"+id+"/uploads", body); status != want {
			t.Errorf("granting %s of 3 chunks: %d %+v", name, status, p)
		}
	}
	if e := s.tapes.entries[id]; !e.Complete || e.Chunks != 3 || e.Bytes != 77 || e.Last != strings.Repeat("a", 64) || !e.Ended.Equal(s.Now.Add(time.Minute).UTC()) {
		t.Errorf("%+v", e)
	}
}

// forged is manifest.json with a body that only a hostile agent signs.
func forged(t *testing.T, agent credential, body string) []byte {
	t.Helper()
	sum := sha256.Sum256([]byte(body))
	sum = sha256.Sum256(append([]byte("stile-manifest-v1\n"), sum[:]...))
	signature, err := crypto.Signer(agent.key).Sign(rand.Reader, sum[:], crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(map[string]any{"manifest": json.RawMessage(body), "certificate": agent.der, "signature": signature})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestPeopleListTheirOwnAndOthersWhatARuleAllows(t *testing.T) {
	s := newSite(t, resource.Role{Metadata: resource.Metadata{Name: "viewer", Scope: "/"}, Spec: resource.RoleSpec{Allow: resource.RoleBlock{Rules: []resource.Rule{{Resources: []string{"*"}, Verbs: []string{"list"}}}}}})
	var all []string
	now := s.Now
	for n := range 7 { // over several days
		id, _ := s.sessionAt([]string{"bob", "eve"}[n%2], now.Add(-time.Duration(n)*20*time.Hour))
		all = append(all, id)
	}
	list := func(c credential, query string) (ids []string) {
		for cursor := ""; ; {
			e := s.request(credential{}, http.MethodGet, "/v1/recordings", "")
			e.MultiValueQueryStringParameters = map[string][]string{"limit": {"2"}}
			for pair := range strings.SplitSeq(query, "&") {
				if name, value, ok := strings.Cut(pair, "="); ok {
					e.MultiValueQueryStringParameters[name] = []string{value}
				}
			}
			if cursor != "" {
				e.MultiValueQueryStringParameters["cursor"] = []string{cursor}
			}
			status, p, body := s.serve(s.sign(c, e))
			if status != http.StatusOK {
				t.Fatalf("%d %+v", status, p)
			}
			var page wire.RecordingList
			if err := json.Unmarshal([]byte(body), &page); err != nil {
				t.Fatal(err)
			}
			for _, r := range page.Recordings {
				ids = append(ids, r.ID)
			}
			if cursor = page.Next; cursor == "" {
				return ids
			}
		}
	}
	for name, c := range map[string]struct {
		as    credential
		query string
		want  []string
	}{
		"their own":             {s.user("bob", "access"), "", []string{all[0], all[2], all[4], all[6]}},
		"none":                  {s.user("zoe", "access"), "", nil},
		"all, the newest first": {s.user("carol", "viewer"), "", all},
		"of one user":           {s.user("carol", "viewer"), "user=eve", []string{all[1], all[3], all[5]}},
		"of another target":     {s.user("carol", "viewer"), "target=node/node-2", nil},
		"of a time": {
			s.user("carol", "viewer"), "since=" + now.Add(-50*time.Hour).Format(time.RFC3339) + "&until=" + now.Add(-10*time.Hour).Format(time.RFC3339),
			[]string{all[1], all[2]},
		},
	} {
		if got := list(c.as, c.query); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func TestPeopleSeeTheEventsThatAreTheirOwn(t *testing.T) {
	s := newSite(t)
	id, _ := s.session("bob")
	for name, want := range map[string]int{"bob": 1, "eve": 0} {
		status, _, body := s.call(s.user(name, "viewless"), http.MethodGet, "/v1/audit/sessions/"+id, "")
		if status != http.StatusOK || strings.Contains(body, "standing") {
			t.Errorf("%s without a rule about their own: %d %s", name, status, body)
		}
		status, p, body := s.call(s.user(name, "access"), http.MethodGet, "/v1/audit/sessions/"+id, "")
		var page wire.EventList
		if err := json.Unmarshal([]byte(body), &page); err != nil || status != http.StatusOK || len(page.Events) != want {
			t.Errorf("%s: %d %+v, %d events, %v", name, status, p, len(page.Events), err)
		}
	}
	if _, _, body := s.call(s.user("ann", "editor"), http.MethodGet, "/v1/audit/sessions/"+id, ""); strings.Count(body, "standing") != 4 {
		t.Errorf("an editor sees %s", body)
	}
}

// Who may not see an event of a decision is told what those are told who ask for none that there is.
func TestADecisionThatOneMayNotSeeLooksLikeNone(t *testing.T) {
	s := newSite(t)
	const path = "/v1/audit/decisions/"
	_, _, none := s.call(s.user("bob", "access"), http.MethodGet, path+strings.Replace(decided, "hv", "hw", 1), "")
	for name, want := range map[*credential]int{
		new(s.user("bob", "access")): 1, new(s.user("ada", "access")): 1, new(s.user("eve", "access")): 0, new(s.user("bob", "viewless")): 0, new(s.user("ann", "editor")): 4,
	} {
		status, _, body := s.call(*name, http.MethodGet, path+decided, "")
		var page wire.EventList
		if err := json.Unmarshal([]byte(body), &page); err != nil || status != http.StatusOK || len(page.Events) != want || (want == 0) != (body == none) {
			t.Errorf("%d, %d events of %d in %s, %v", status, len(page.Events), want, body, err)
		}
	}
	for _, bad := range []string{"dec_", "ses_01hv0000000000000000000000", "dec_01HV0000000000000000000000"} {
		if status, _, body := s.call(s.user("ann", "editor"), http.MethodGet, path+bad, ""); status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", bad, status, body)
		}
	}
}

// list asks for a list of events.
func (s *site) list(c credential, query string) (int, wire.Problem, string) {
	s.t.Helper()
	values, err := url.ParseQuery(query)
	if err != nil {
		s.t.Fatal(err)
	}
	e := s.request(credential{}, http.MethodGet, "/v1/audit/events", "")
	e.MultiValueQueryStringParameters = values
	return s.serve(s.sign(c, e))
}

func TestPeopleListTheEventsThatTheyAskForAndMaySee(t *testing.T) {
	s := newSite(t)
	list := func(as credential, query string) (ids []string) {
		t.Helper()
		cursor := ""
		for {
			status, p, body := s.list(as, "limit=100"+query+cursor)
			var page wire.ReceivedEvents
			if err := json.Unmarshal([]byte(body), &page); err != nil || status != http.StatusOK {
				t.Fatalf("%s: %d %+v, %v", query, status, p, err)
			}
			for _, e := range page.Events {
				event, err := audit.Parse([]byte(e.Event))
				if err != nil {
					t.Fatal(err)
				}
				ids = append(ids, event.ID)
			}
			if reached := !page.Reached.IsZero(); reached != (page.Next != "") {
				t.Errorf("a page before %q says that it reaches %s", page.Next, page.Reached)
			}
			if page.Next == "" {
				return ids
			}
			cursor = "&cursor=" + page.Next
		}
	}
	for name, c := range map[string]struct {
		user, role, query string
		want              int
		first             string
	}{
		"everything":         {"ann", "editor", "", 24, "00"},
		"one's own":          {"bob", "access", "", 12, "01"},
		"another of a name":  {"eve", "access", "", 0, ""},
		"a type":             {"ann", "editor", "&type=session.denied", 12, "01"},
		"a group":            {"ann", "editor", "&type=session", 24, "00"},
		"another type":       {"ann", "editor", "&type=user.login,recording", 0, ""},
		"an actor":           {"ann", "editor", "&actor=user/bob", 12, "01"},
		"others' of one":     {"bob", "access", "&actor=ada", 0, ""},
		"a target":           {"ann", "editor", "&target=node/node-1", 24, "00"},
		"another target":     {"ann", "editor", "&target=node/node-2", 0, ""},
		"an outcome":         {"ann", "editor", "&outcome=success", 12, "00"},
		"several of those":   {"ann", "editor", "&outcome=denied&actor=bob&type=session", 12, "01"},
		"several, and never": {"ann", "editor", "&outcome=success&actor=bob", 0, ""},
	} {
		got := list(s.user(c.user, c.role), c.query)
		if len(got) != c.want || c.want > 0 && got[0] != c.first || !slices.IsSorted(got) {
			t.Errorf("%s: %v", name, got)
		}
	}
	for query, path := range map[string]string{
		"type=sessions": "type", "target=web-1": "target", "outcome=ok": "outcome", "since=yesterday": "since", "until=1": "until", "limit=5&cursor=!": "cursor",
	} {
		if status, p, body := s.list(s.user("ann", "editor"), query); status != http.StatusBadRequest || !strings.Contains(body, `"`+path+`"`) {
			t.Errorf("%s: %d %+v %s", query, status, p, body)
		}
	}
	s.store.span = roster.Span{}
	if got := list(s.user("bob", "viewless"), ""); len(got) != 0 || s.store.span != (roster.Span{}) {
		t.Errorf("without a rule: %v, or the ledger was read", got)
	}
}

func TestAListOfEventsBeginsAndEndsWhenItSays(t *testing.T) {
	s := newSite(t)
	for query, want := range map[string][2]time.Duration{
		"":                    {-time.Hour, 0},
		"since=-2h":           {-2 * time.Hour, 0},
		"since=-1000h":        {-31 * 24 * time.Hour, 0},
		"since=-2h&until=-1h": {-2 * time.Hour, -time.Hour},
		"until=1h":            {-time.Hour, 0},
	} {
		written := query
		for _, ago := range []string{"-2h", "-1000h", "-1h", "1h"} {
			d, err := time.ParseDuration(ago)
			if err != nil {
				t.Fatal(err)
			}
			written = strings.ReplaceAll(written, "="+ago, "="+s.Now.Add(d).UTC().Format(time.RFC3339Nano))
		}
		status, p, body := s.list(s.user("ann", "editor"), written)
		var page wire.ReceivedEvents
		if err := json.Unmarshal([]byte(body), &page); err != nil || status != http.StatusOK {
			t.Fatalf("%s: %d %+v, %v", written, status, p, err)
		}
		since, until := s.Now.Add(want[0]), s.Now.Add(want[1])
		if !page.Since.Equal(since) || !page.Until.Equal(until) || !s.store.span.Since.Equal(since) || !s.store.span.Until.Equal(until) {
			t.Errorf("%q: from %s to %s, read from %s to %s", query, page.Since, page.Until, s.store.span.Since, s.store.span.Until)
		}
	}
}
