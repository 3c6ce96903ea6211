package recording_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stile-dev/stile/cli/recording"
	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/certs"
	"github.com/stile-dev/stile/pkg/certs/certstest"
	"github.com/stile-dev/stile/pkg/identity"
	format "github.com/stile-dev/stile/pkg/recording"
	"github.com/stile-dev/stile/pkg/wire"
)

var started = time.Date(2026, 11, 27, 10, 0, 0, 0, time.UTC)

// shelf is a source that has objects in memory, two on a page.
type shelf struct {
	objects []wire.RecordingObject
	bodies  map[string][]byte // by version
	pages   int
}

func (s *shelf) Objects(_ context.Context, _, cursor string) (wire.RecordingObjects, error) {
	s.pages++
	from := 0
	if cursor != "" {
		if _, err := fmt.Sscan(cursor, &from); err != nil {
			return wire.RecordingObjects{}, err
		}
	}
	to := min(from+2, len(s.objects))
	p := wire.RecordingObjects{Objects: s.objects[from:to], ExpiresAt: time.Now().Add(15 * time.Minute)}
	if to < len(s.objects) {
		p.Next = fmt.Sprint(to)
	}
	return p, nil
}

func (s *shelf) Fetch(_ context.Context, o wire.RecordingObject, most int64) ([]byte, error) {
	b, ok := s.bodies[o.Version]
	if !ok || int64(len(b)) > most {
		return nil, errors.New("it isn't there")
	}
	return b, nil
}

// put adds a version of an object, a newer one than those that are there.
func (s *shelf) put(name string, body []byte) {
	version := fmt.Sprintf("v%d", len(s.bodies))
	i := slices.IndexFunc(s.objects, func(o wire.RecordingObject) bool { return o.Name >= name })
	if i < 0 {
		i = len(s.objects)
	}
	s.objects = slices.Insert(s.objects, i, wire.RecordingObject{Name: name, Version: version, Size: int64(len(body))})
	s.bodies[version] = body
}

// remove takes all versions of an object away.
func (s *shelf) remove(name string) {
	s.objects = slices.DeleteFunc(s.objects, func(o wire.RecordingObject) bool { return o.Name == name })
}

// made is a recording of three chunks with all that speaks for it.
type made struct {
	shelf   *shelf
	session string
	chunks  [][]byte
	key     *ecdsa.PrivateKey
	cert    []byte
	hosts   []identity.Authority
	events  []wire.LedgerEvent
	m       format.Manifest
	entry   wire.Recording
	state   string
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

const agent = "agt_01h2xcejqtf2nbrexx3vqjhp41"

// command isn't UTF-8.
const command = "cat report \xff"

func record(t testing.TB, terminal bool, outputs ...string) *made {
	t.Helper()
	id, _ := identity.NewSession(rand.Reader, started)
	r := &made{shelf: &shelf{bodies: map[string][]byte{}}, session: id, key: newKey(t), state: "complete"}
	p := format.Place{Session: id}
	head := &format.Head{Session: id, Cluster: "c", Agent: agent, Target: "node/web-1", User: "ada", Login: "root", Terminal: terminal, Started: started, Command: command, Width: 80, Height: 24}
	var total int64
	for n, o := range outputs {
		c := format.NewChunk(p, head)
		c.Output(time.Duration(n)*10*time.Second, format.Stdout, []byte(o))
		object, next, err := c.Seal()
		if err != nil {
			t.Fatal(err)
		}
		total += int64(len(o))
		r.shelf.put(format.ChunkName(n), object)
		r.chunks, p, head = append(r.chunks, object), next, nil
		r.tell(t, audit.RecordingChunk, map[string]string{"seq": fmt.Sprint(n), "sha256": next.Before})
	}
	r.m = format.Manifest{
		V: 1, Session: id, Cluster: "c", Agent: agent, Target: "node/web-1", User: "ada", Login: "root", Started: started, Ended: started.Add(time.Minute),
		Chunks: len(outputs), Last: p.Before, Bytes: total,
	}
	r.entry = wire.Recording{User: "ada", Login: "root", Node: "web-1", Started: started, Chunks: r.m.Chunks, Bytes: r.m.Bytes, Last: r.m.Last}
	ca := newKey(t)
	r.certify(t, ca, "node/web-1")
	r.hosts = []identity.Authority{{Cluster: "c", Keys: []crypto.PublicKey{ca.Public()}}}
	r.seal(t)
	r.tell(t, audit.RecordingEnd, map[string]string{"chunks": fmt.Sprint(r.m.Chunks), "last": r.m.Last})
	return r
}

const otherAgent = "agt_01h2xcejqtf2nbrexx3vqjhp42"

// replace puts a recording of another agent in place of all chunks, with a statement that suits it.
func (r *made) replace(t testing.TB, agent, target string) {
	t.Helper()
	r.shelf.objects = nil
	head := &format.Head{Session: r.session, Cluster: "c", Agent: agent, Target: target, User: "ada", Login: "root", Terminal: true, Started: started, Width: 80, Height: 24}
	c := format.NewChunk(format.Place{Session: r.session}, head)
	c.Output(0, format.Stdout, []byte("all is well"))
	object, next, err := c.Seal()
	if err != nil {
		t.Fatal(err)
	}
	r.shelf.put(format.ChunkName(0), object)
	r.shelf.put(format.StatementName, format.Statement{V: 1, Session: r.session, Cluster: "c", Agent: agent, Chunks: 1, Last: next.Before}.Marshal())
	r.m.Chunks, r.m.Last, r.m.Bytes, r.m.Target, r.state = 1, next.Before, int64(len("all is well")), target, "incomplete"
}

// tell adds an event of the agent to the ledger.
func (r *made) tell(t testing.TB, kind audit.Type, data map[string]string) {
	t.Helper()
	r.tellAs(t, "agent/"+agent, kind, data)
}

func (r *made) tellAs(t testing.TB, source string, kind audit.Type, data map[string]string) {
	t.Helper()
	e := audit.New(kind, rand.Reader, started)
	e.SessionID, e.Source, e.TargetKind, e.Target, e.Data = r.session, source, "node", "web-1", data
	b, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	r.events = append(r.events, wire.LedgerEvent{Event: string(b), Standing: "proven"})
}

// certify gives the agent a certificate.
func (r *made) certify(t testing.TB, ca crypto.Signer, target string) {
	t.Helper()
	r.certifyAs(t, agent, ca, target)
}

func (r *made) certifyAs(t testing.TB, agent string, ca crypto.Signer, target string) {
	t.Helper()
	kind, name, _ := strings.Cut(target, "/")
	template, err := certs.HostTemplate(certs.HostRequest{
		Identity: identity.Host{
			Cluster: "c", ClusterName: "dev", Certificate: "crt_01h2xcejqtf2nbrexx3vqjhp41", Kind: identity.KindAgent, ID: agent,
			Targets: []identity.Target{{Kind: kind, Name: name}}, Scope: "/", Method: "token", Token: "web", IssuedAt: started,
		},
		SSHKey: &newKey(t).PublicKey, TLSKey: &r.key.PublicKey, From: started, Until: started.Add(24 * time.Hour), Entropy: rand.Reader,
	})
	if err != nil {
		t.Fatal(err)
	}
	if r.cert, err = certstest.SignX509(template.X509, template.TLSKey, ca); err != nil {
		t.Fatal(err)
	}
}

// seal puts the manifest in place of the one that is there.
func (r *made) seal(t testing.TB) {
	t.Helper()
	b, err := r.m.Sign(rand.Reader, r.key, r.cert)
	if err != nil {
		t.Fatal(err)
	}
	r.shelf.remove(format.ManifestName)
	r.shelf.put(format.ManifestName, b)
}

func (r *made) reader() *recording.Reader { return recording.Open(r.shelf, r.session, time.Now) }

func (r *made) verify(t testing.TB) *recording.Report {
	t.Helper()
	report, err := recording.Verify(t.Context(), r.reader(), recording.Evidence{
		Hosts: r.hosts, Entry: func() (wire.Recording, error) {
			r.entry.State = r.state
			return r.entry, nil
		},
		Events: iter.Seq2[wire.LedgerEvent, error](func(yield func(wire.LedgerEvent, error) bool) {
			for _, e := range r.events {
				if !yield(e, nil) {
					return
				}
			}
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func text(r *recording.Report) string {
	var b bytes.Buffer
	_ = r.Print(&b) // a buffer takes everything
	return b.String()
}

func TestARecordingThatIsAsItWasMadeIsProvenWhole(t *testing.T) {
	if r := record(t, true, "one", "two", "three").verify(t); r.Bad || !r.Whole {
		t.Error(text(r))
	}
}

func TestSec_S97_ACommandIsHeldAgainstTheSessionsStart(t *testing.T) {
	shown, hash := "cat report \uFFFD", format.Hash([]byte(command))
	for name, c := range map[string]struct {
		data map[string]string
		want string // "" when nothing is said
		bad  bool
	}{
		"the hash":                    {map[string]string{"command": shown, "command_sha256": hash}, "the audit log has the same command: 12 bytes", false},
		"the hash in upper case":      {map[string]string{"command_sha256": strings.ToUpper(hash)}, "the audit log has the same command: 12 bytes", false},
		"the whole of another":        {map[string]string{"command": "rm -rf /"}, "the recording's command isn't the one that the audit log has", true},
		"what looks the same":         {map[string]string{"command": shown}, "the recording's command isn't the one that the audit log has", true},
		"the same text, another hash": {map[string]string{"command": shown, "command_sha256": strings.Repeat("0", 64)}, "the recording's command isn't the one that the audit log has", true},
		"no room for it":              {map[string]string{"left_out": "command (9216 bytes)"}, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			r := record(t, false, "one", "two")
			r.tell(t, audit.SessionStart, c.data)
			report := r.verify(t)
			if said := text(report); report.Bad != c.bad || report.Whole == c.bad || !strings.Contains(said, c.want) || strings.Contains(said, "command") != (c.want != "") {
				t.Error(said)
			}
			for i := range r.events {
				r.events[i].Standing = "unproven"
			}
			if said := text(r.verify(t)); strings.Contains(said, "command") {
				t.Error("whoever could have forged the event is believed: " + said)
			}
		})
	}
	r := record(t, false, "one")
	r.tell(t, audit.SessionStart, map[string]string{"command": "rm -rf /"})
	r.events[len(r.events)-1].Event = strings.Replace(r.events[len(r.events)-1].Event, `"web-1"`, `"web-2"`, 1)
	if said := text(r.verify(t)); strings.Contains(said, "command") {
		t.Error("an agent of another target is believed: " + said)
	}
}

func TestSec_S97_WhatIsWrongWithARecordingIsFound(t *testing.T) {
	for name, c := range map[string]struct {
		change func(testing.TB, *made)
		want   string
	}{
		"a chunk is gone":         {func(_ testing.TB, r *made) { r.shelf.remove(format.ChunkName(1)) }, "chunk 1 is missing, and nothing says why"},
		"the last is gone":        {func(_ testing.TB, r *made) { r.shelf.remove(format.ChunkName(2)) }, "chunk 2 was recorded, as the audit log proves, and is not there"},
		"the manifest is gone":    {func(_ testing.TB, r *made) { r.shelf.remove(format.ManifestName) }, "the manifest is gone"},
		"a chunk was overwritten": {func(_ testing.TB, r *made) { r.shelf.put(format.ChunkName(1), r.chunks[0]) }, "00000001.zst has 2 versions that differ"},
		"a chunk was replaced": {func(_ testing.TB, r *made) {
			r.shelf.remove(format.ChunkName(1))
			r.shelf.put(format.ChunkName(1), r.chunks[2])
		}, "chunk 1 says that it is chunk 2"},
		"a chunk can't be read": {func(_ testing.TB, r *made) {
			r.shelf.remove(format.ChunkName(1))
			r.shelf.put(format.ChunkName(1), r.chunks[1][:40])
		}, "chunk 1 can't be read"},
		"a stranger's object": {func(_ testing.TB, r *made) { r.shelf.put("evil\x1b[31m.zst", nil) }, `evil\x1b[31m.zst is not one of a recording's objects`},
		"somebody deleted":    {func(_ testing.TB, r *made) { r.shelf.objects[1].Deleted = true }, "somebody marked 00000001.zst as deleted"},
		"another session's": {func(t testing.TB, r *made) {
			o := record(t, true, "x")
			r.shelf.remove(format.ChunkName(0))
			r.shelf.put(format.ChunkName(0), o.chunks[0])
		}, "chunk 0 is one of another session"},
		"the manifest is forged":   {func(t testing.TB, r *made) { r.m.Last = strings.Repeat("0", 64); r.seal(t) }, "the last chunk isn't the one that the manifest names"},
		"another key signed":       {func(t testing.TB, r *made) { r.key = newKey(t); r.seal(t) }, "isn't signed by the key of its certificate"},
		"another agent's name":     {func(t testing.TB, r *made) { r.m.Agent = otherAgent; r.seal(t) }, "signed it"},
		"another target":           {func(t testing.TB, r *made) { r.m.Target = "node/other"; r.seal(t) }, "doesn't serve node/other"},
		"another user":             {func(t testing.TB, r *made) { r.m.User = "eve"; r.seal(t) }, "disagree about whose session it was"},
		"more bytes than there":    {func(t testing.TB, r *made) { r.m.Bytes++; r.seal(t) }, "the manifest counts 12"},
		"the certificate was over": {func(t testing.TB, r *made) { r.m.Ended = started.Add(1000 * time.Hour); r.seal(t) }, "none that an agent could sign with"},
		"the ledger has another": {func(t testing.TB, r *made) {
			r.tell(t, audit.RecordingChunk, map[string]string{"seq": "1", "sha256": strings.Repeat("0", 64)})
		}, "chunk 1 isn't the one that the audit log has the hash of"},
		"all of it was replaced by another agent's": {func(t testing.TB, r *made) { r.replace(t, otherAgent, "node/web-1") }, "chunk 0 isn't the one that the audit log has the hash of"},
		"all of it was replaced, the manifest too, by a key that nobody knows": {func(t testing.TB, r *made) {
			r.replace(t, otherAgent, "node/web-1")
			r.key = newKey(t)
			r.certifyAs(t, otherAgent, newKey(t), "node/web-1")
			r.m.Agent, r.state = otherAgent, "complete"
			r.seal(t)
		}, "chunk 0 isn't the one that the audit log has the hash of"},
		"all of it was replaced by what counts the same, when the ledger had forgotten it": {func(t testing.TB, r *made) {
			r.replace(t, otherAgent, "node/web-1")
			r.shelf.remove(format.StatementName)
			r.key = newKey(t)
			r.certifyAs(t, otherAgent, newKey(t), "node/web-1")
			r.m.Agent, r.state, r.events = otherAgent, "complete", nil
			r.entry.Chunks, r.entry.Bytes = r.m.Chunks, r.m.Bytes
			r.seal(t)
		}, "the manifest isn't the one by which the recording became complete"},
		"all of it was replaced by that of another target": {func(t testing.TB, r *made) { r.replace(t, otherAgent, "node/web-2") }, "disagree about whose session it was: ada as root on web-2, and ada as root on web-1"},
		"the end was cut, and the statement changed to match": {func(t testing.TB, r *made) {
			r.stateThat(t, nil)
			r.tellAs(t, "function/sweep", audit.RecordingAbandoned, map[string]string{"chunks": "3", "last": format.Hash(r.chunks[2])})
			r.shelf.remove(format.ChunkName(2))
		}, "the control plane saw 3 chunks when it looked, and there are 2"},
		"the ledger has an end without a number": {func(_ testing.TB, r *made) {
			r.shelf.remove(format.ManifestName)
			r.state = "open"
			r.events[3].Event = strings.Replace(r.events[3].Event, `"chunks":"3"`, `"chunks":"many"`, 1)
		}, `the recording ended with "many" chunks`},
		"the ledger has more": {func(t testing.TB, r *made) {
			r.tell(t, audit.RecordingChunk, map[string]string{"seq": "3", "sha256": strings.Repeat("0", 64)})
		}, "chunk 3 was recorded, as the audit log proves, and is not there"},
	} {
		t.Run(name, func(t *testing.T) {
			r := record(t, true, "one", "two", "three")
			c.change(t, r)
			if report := r.verify(t); !report.Bad || report.Whole || !strings.Contains(text(report), c.want) {
				t.Errorf("it isn't found that %s:\n%s", c.want, text(report))
			}
		})
	}
}

// stateThat puts what the control plane states while nothing is heard of the agent.
func (r *made) stateThat(t testing.TB, change func(*format.Statement)) {
	t.Helper()
	st := format.Statement{V: 1, Session: r.session, Cluster: "c", Agent: agent, Lapsed: started.Add(2 * time.Hour), Made: started.Add(3 * time.Hour), Chunks: 2, Last: format.Hash(r.chunks[1])}
	if change != nil {
		change(&st)
	}
	r.state = "incomplete"
	r.shelf.remove(format.ManifestName)
	r.shelf.put(format.StatementName, st.Marshal())
}

func TestWhatTheControlPlaneStatedStandsUntilTheAgentComesBack(t *testing.T) {
	r := record(t, true, "one", "two", "three")
	sealed := slices.Clone(r.shelf.objects)
	r.stateThat(t, nil)
	if report := r.verify(t); report.Bad || report.Whole || !strings.Contains(text(report), "nothing was heard of agent "+agent+" after 2026-11-27T12:00:00Z") {
		t.Errorf("while it is away:\n%s", text(report))
	}
	if _, warned := printed(t, r, recording.Text); len(warned) != 1 || !strings.Contains(warned[0], "nothing is heard of its agent") {
		t.Errorf("warned of %q", warned)
	}
	r.shelf.objects = append(r.shelf.objects, sealed[len(sealed)-1])
	r.state = "complete"
	slices.SortFunc(r.shelf.objects, func(a, b wire.RecordingObject) int { return strings.Compare(a.Name, b.Name) })
	if report := r.verify(t); report.Bad || !report.Whole {
		t.Errorf("after it came back:\n%s", text(report))
	}
	for name, c := range map[string]struct {
		change func(*made)
		want   string
	}{
		"there were more":       {func(r *made) { r.stateThat(t, func(s *format.Statement) { s.Chunks = 4 }) }, "the control plane saw 4 chunks when it looked, and there are 3"},
		"the last one was else": {func(r *made) { r.stateThat(t, func(s *format.Statement) { s.Last = strings.Repeat("0", 64) }) }, "the last one when the control plane looked is not there"},
		"another session's":     {func(r *made) { r.stateThat(t, func(s *format.Statement) { s.Session = "ses_x" }) }, "about another session, ses_x"},
		"it can't be read": {func(r *made) {
			r.stateThat(t, nil)
			r.shelf.remove(format.StatementName)
			r.shelf.put(format.StatementName, []byte("{"))
		}, "what the control plane stated can't be read"},
		"it is gone":                           {func(r *made) { r.stateThat(t, nil); r.shelf.remove(format.StatementName) }, "the statement is gone"},
		"a chunk is gone that it doesn't miss": {func(r *made) { r.stateThat(t, nil); r.shelf.remove(format.ChunkName(0)) }, "chunk 0 is missing, and nothing says why"},
	} {
		r := record(t, true, "one", "two", "three")
		c.change(r)
		if report := r.verify(t); !report.Bad || !strings.Contains(text(report), c.want) {
			t.Errorf("%s isn't found:\n%s", name, text(report))
		}
	}
}

func TestWhatCannotBeProvenIsSaid(t *testing.T) {
	for name, c := range map[string]struct {
		change func(testing.TB, *made)
		want   string
	}{
		"it lasts":              {func(_ testing.TB, r *made) { r.shelf.remove(format.ManifestName); r.state = "open" }, "there is no manifest yet"},
		"a key of former times": {func(t testing.TB, r *made) { r.hosts[0].Keys = []crypto.PublicKey{newKey(t).Public()} }, "no trust document that this machine holds"},
		"another target's word": {func(_ testing.TB, r *made) {
			for i := range r.events {
				r.events[i].Event = strings.Replace(r.events[i].Event, "web-1", "web-2", 1)
			}
		}, "of the events about chunks, 4 come from agents of other targets"},
		"no event": {func(_ testing.TB, r *made) { r.events = nil }, "the audit log has no hash of any chunk"},
		"a proxy's word": {func(_ testing.TB, r *made) {
			for i := range r.events {
				r.events[i].Standing = "unproven"
			}
		}, "of the events about chunks, 4 can't be proven"},
		"a missing chunk that the agent told of": {func(t testing.TB, r *made) {
			r.shelf.remove(format.ChunkName(1))
			r.m.Missing = []format.Missing{{First: 1, Last: 1, Why: "the disk \x1b[31m"}}
			r.seal(t)
		}, `the agent says of chunk 1 that something is missing: the disk \x1b[31m`},
		"a manifest that isn't there yet": {func(_ testing.TB, r *made) {
			r.shelf.remove(format.ManifestName)
			r.state = "open"
			r.events[3].Event = strings.Replace(r.events[3].Event, `"chunks":"3"`, `"chunks":"1"`, 1)
		}, "the recording ended with 1 chunk, as the audit log proves"},
		"the same again": {func(_ testing.TB, r *made) { r.shelf.put(format.ChunkName(1), r.chunks[1]); r.events = nil }, "the audit log has no hash"},
	} {
		t.Run(name, func(t *testing.T) {
			r := record(t, true, "one", "two", "three")
			c.change(t, r)
			if report := r.verify(t); report.Bad || report.Whole || !strings.Contains(text(report), c.want) {
				t.Errorf("it isn't said that %s:\n%s", c.want, text(report))
			}
		})
	}
}

func printed(t testing.TB, r *made, f recording.Format) (out string, warned []string) {
	t.Helper()
	var b bytes.Buffer
	if err := recording.Print(t.Context(), r.reader(), &b, f, 0, func(s string) { warned = append(warned, s) }); err != nil {
		t.Fatal(err)
	}
	return b.String(), warned
}

// Other players go down at a line feed and not to the line's beginning: what has no terminal would show stairs there.
func TestACastOfASessionWithoutATerminalPlaysAsItWasShown(t *testing.T) {
	outputs := []string{"one\ntwo\r\n\n", "three\r", "\nfour \\n\n"}
	for terminal, want := range map[bool]string{false: "one\r\ntwo\r\n\r\nthree\r\nfour \\n\r\n", true: strings.Join(outputs, "")} {
		r := record(t, terminal, outputs...)
		cast, warned := printed(t, r, recording.Cast)
		_, lines, err := format.ReadHead([]byte(cast))
		if err != nil || warned != nil {
			t.Fatal(err, warned)
		}
		var got strings.Builder
		for l, err := range format.Lines(lines) {
			if err != nil {
				t.Fatal(err)
			}
			got.WriteString(l.Text)
		}
		if got.String() != want {
			t.Errorf("terminal %v: it shows %q, want %q", terminal, got.String(), want)
		}
		for _, f := range []recording.Format{recording.Raw, recording.JSON} {
			shown, _ := printed(t, r, f)
			if all := strings.Join(outputs, ""); f == recording.Raw && shown != all || strings.Contains(shown, `one\r`) {
				t.Errorf("terminal %v: %s has %q", terminal, f, shown)
			}
		}
	}
}

func TestTimesArePrintedAsExactlyAsTheyAreKept(t *testing.T) {
	for at, want := range map[time.Duration]string{
		1018455 * time.Microsecond:                  "1.018455",
		time.Microsecond:                            "0.000001",
		2 * time.Second:                             "2",
		30*24*time.Hour + 1100001*time.Microsecond:  "2592001.100001",
		29*365*24*time.Hour + 300*time.Millisecond:  "914544000.3",
		72*time.Hour + 123457*time.Microsecond + 19: "259200.123457",
	} {
		if got, err := json.Marshal(recording.Seconds(at)); err != nil || string(got) != want {
			t.Errorf("%s is printed as %s, want %s", at, got, want)
		}
	}
	r := record(t, true)
	c := format.NewChunk(format.Place{Session: r.session}, &format.Head{Session: r.session, Started: started, Width: 80, Height: 24})
	c.Output(1018455*time.Microsecond, format.Stdout, []byte("x"))
	object, _, err := c.Seal()
	if err != nil {
		t.Fatal(err)
	}
	r.shelf.put(format.ChunkName(0), object)
	if got, _ := printed(t, r, recording.JSON); !strings.HasPrefix(got, `{"at":1.018455,`) {
		t.Errorf("printed %s", got)
	}
}

func TestARecordingIsPrintedInEachForm(t *testing.T) {
	r := record(t, true, "one\r\n", "\x1b[31mtw\xff", "o\r\n")
	for f, want := range map[recording.Format]string{
		recording.Text: "one\ntw\ufffdo\n",
		recording.Raw:  "one\r\n\x1b[31mtw\xffo\r\n",
		recording.JSON: `{"at":0,"kind":"output","stream":"stdout","text":"one\r\n"}` + "\n" +
			`{"at":10,"kind":"output","stream":"stdout","text":"\u001b[31mtw` + "\ufffd" + `","bytes":"G1szMW10d/8="}` + "\n" +
			`{"at":20,"kind":"output","stream":"stdout","text":"o\r\n"}` + "\n",
	} {
		if got, warned := printed(t, r, f); got != want || warned != nil {
			t.Errorf("%s: got %q, want %q; warned %q", f, got, want, warned)
		}
	}
	if got, _ := printed(t, r, recording.Cast); strings.Count(got, "\n") != 5 || !strings.HasPrefix(got, `{"version":2,`) {
		t.Errorf("the cast is %q", got)
	}
}

func TestWhatIsMissingIsSaidAndTheRestIsPrinted(t *testing.T) {
	r := record(t, true, "one\n", "two\n", "three\n", "four\n")
	r.shelf.remove(format.ChunkName(1))
	r.shelf.remove(format.ManifestName)
	r.shelf.put(format.ChunkName(2), r.chunks[0]) // a newer version isn't read
	got, warned := printed(t, r, recording.Text)
	said := strings.Join(warned, "; ")
	if got != "one\nthree\nfour\n" || !strings.Contains(said, "chunk 1 is missing") || !strings.Contains(said, "there is more than one 00000002.zst") || !strings.Contains(said, "isn't complete") {
		t.Errorf("got %q, warned of %s", got, said)
	}
}
