package recording

import (
	"context"
	"crypto/x509"
	"fmt"
	"io"
	"iter"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/certs"
	"github.com/stile-dev/stile/pkg/escape"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/recording"
	"github.com/stile-dev/stile/pkg/wire"
)

// Finding is one result of a verification, a sentence that needs escaping.
type Finding struct {
	Kind string `json:"kind"` // proven, unproven, wrong
	Text string `json:"text"`
}

// The kinds of findings.
const (
	Proven   = "proven"
	Unproven = "unproven" // can't be said, or not yet
	Wrong    = "wrong"
)

// mostFindings bounds what a report lists; what is more is counted.
const mostFindings = 1000

// Report is what a verification found.
type Report struct {
	Session  string    `json:"session"`
	Findings []Finding `json:"findings"`
	More     int       `json:"more,omitempty"` // findings that aren't listed
	Bad      bool      `json:"wrong"`          // something is wrong
	Whole    bool      `json:"whole"`          // nothing is wrong, and nothing is left to prove
}

func (r *Report) add(kind, format string, args ...any) {
	r.Bad = r.Bad || kind == Wrong
	r.Whole = r.Whole && kind == Proven
	if len(r.Findings) >= mostFindings {
		r.More++
		return
	}
	r.Findings = append(r.Findings, Finding{kind, fmt.Sprintf(format, args...)})
}

// Print writes the report for people.
func (r *Report) Print(w io.Writer) error {
	for _, f := range r.Findings {
		if _, err := fmt.Fprintf(w, "%-8s  %s\n", f.Kind, escape.Text(f.Text)); err != nil {
			return fmt.Errorf("printing: %w", err)
		}
	}
	if r.More > 0 {
		if _, err := fmt.Fprintf(w, "and %d more\n", r.More); err != nil {
			return fmt.Errorf("printing: %w", err)
		}
	}
	return nil
}

// Evidence is what a recording is held against.
type Evidence struct {
	Hosts  []identity.Authority               // who may have signed hosts' certificates: the trust documents that are held
	Events iter.Seq2[wire.LedgerEvent, error] // the session's, from the ledger
	Entry  func() (wire.Recording, error)     // what the API says of the recording
}

// Verify reads all versions of all objects of a recording and says what they prove. It needs memory for a chunk, and for a
// hash of each. An error is that it couldn't go on.
func Verify(ctx context.Context, r *Reader, e Evidence) (*Report, error) {
	v := &verification{reader: r, report: &Report{Session: r.session, Whole: true}, evidence: e}
	v.entry, v.unsaid = e.Entry() // before the objects: one that becomes complete meanwhile isn't one whose manifest is gone
	if err := v.objects(ctx); err != nil {
		return nil, err
	}
	v.whose()
	v.manifest()
	v.statement()
	v.events()
	return v.report, nil
}

type verification struct {
	reader   *Reader
	report   *Report
	evidence Evidence

	name   string   // of the object whose versions are read
	hashes []string // of its versions, the newest first
	body   []byte   // of the oldest

	chunks  []string // hex hashes by number; "" is missing
	opened  int      // chunks that could be read
	chained bool     // each says what the one before hashes to
	bytes   int64
	head    *recording.Head
	signed  *recording.Signed
	ended   bool                 // the ledger has the manifest's end
	sealed  bool                 // there is an object with the manifest's name
	stated  *recording.Statement // of the control plane, about a recording whose agent wasn't heard of
	entry   wire.Recording       // what the API says
	unsaid  error                // why it doesn't
}

// whose holds what the first chunk says of its session against what the API knew before there was any: who replaces all chunks
// could make them those of another agent, by whose events they would be right.
func (v *verification) whose() {
	h := v.head
	switch {
	case v.unsaid != nil:
		v.report.add(Unproven, "the API doesn't say whose session it was: %s", fault.From(v.unsaid).Message)
	case h == nil:
	case name(h.Target) != v.entry.Node || h.User != v.entry.User || h.Login != v.entry.Login || h.Started.UnixMilli() != v.entry.Started.UnixMilli():
		v.report.add(Wrong, "the first chunk and the API disagree about whose session it was: %.64s as %.64s on %.64s, and %.64s as %.64s on %.64s",
			h.User, h.Login, name(h.Target), v.entry.User, v.entry.Login, v.entry.Node)
	}
}

// name is a target's, without its kind.
func name(target string) string {
	_, name, _ := strings.Cut(target, "/")
	return name
}

// objects reads all there is.
func (v *verification) objects(ctx context.Context) error {
	v.chained = true
	for o, err := range v.reader.objects(ctx) {
		if err != nil {
			return err
		}
		if o.Name != v.name {
			v.settle()
			v.name, v.hashes, v.body = o.Name, nil, nil
		}
		_, manifest, err := recording.ParseName(o.Name)
		statement := o.Name == recording.StatementName
		if err != nil && !statement {
			v.report.add(Wrong, "%.128s is not one of a recording's objects", o.Name)
			continue
		}
		if o.Deleted {
			v.report.add(Wrong, "somebody marked %s as deleted, at %s", o.Name, o.Modified.Format(time.RFC3339))
			continue
		}
		most := int64(recording.MaxChunk)
		if manifest || statement {
			most = recording.MaxManifest
		}
		if o.Size > most {
			v.report.add(Wrong, "a version of %s has %d bytes, more than such an object has", o.Name, o.Size)
			v.hashes, v.body = append(v.hashes, ""), nil
			continue
		}
		b, err := v.reader.fetch(ctx, o, most)
		if err != nil {
			return fmt.Errorf("fetching %s: %w", o.Name, err)
		}
		v.hashes, v.body = append(v.hashes, recording.Hash(b)), b
	}
	v.settle()
	switch {
	case v.opened == 1 && v.chained && len(v.chunks) == 1:
		v.report.add(Proven, "the only chunk can be read")
	case v.opened > 0 && v.chained && v.opened == len(v.chunks):
		v.report.add(Proven, "%d chunks can be read, and each has the hash of the one before: no single one was changed, left out or put between", v.opened)
	case v.opened > 0:
		v.report.add(Unproven, "%d of %s could be read", v.opened, Count(len(v.chunks), "chunk"))
	default:
		v.report.add(Unproven, "there is no chunk that can be read")
	}
	return nil
}

// settle judges an object once all its versions were read: the oldest counts, for an object is written once.
func (v *verification) settle() {
	if len(v.hashes) == 0 {
		return
	}
	if same := slices.Compact(slices.Clone(v.hashes)); len(same) > 1 {
		v.report.add(Wrong, "%s has %d versions that differ; the oldest is looked at", v.name, len(v.hashes))
	}
	seq, manifest, _ := recording.ParseName(v.name)
	switch {
	case v.body == nil:
	case v.name == recording.StatementName:
		s, err := recording.OpenStatement(v.body)
		if err != nil {
			v.report.add(Wrong, "what the control plane stated can't be read: %v", err)
			return
		}
		v.stated = &s
	case manifest:
		v.sealed = true
		s, err := recording.OpenManifest(v.body)
		if err != nil {
			v.report.add(Wrong, "the manifest can't be read: %v", err)
			return
		}
		v.signed = &s
	default:
		v.chunk(seq, v.hashes[len(v.hashes)-1])
	}
}

func (v *verification) chunk(seq int, hash string) {
	if seq < len(v.chunks) {
		v.bad("chunk %d is listed out of order", seq)
		return
	}
	for len(v.chunks) < seq {
		v.chunks = append(v.chunks, "")
	}
	before := ""
	if seq > 0 {
		before = v.chunks[seq-1]
	}
	v.chunks = append(v.chunks, hash)
	h, lines, err := recording.OpenChunk(v.body)
	switch {
	case err != nil:
		v.bad("chunk %d can't be read: %v", seq, err)
		return
	case h.Session != v.reader.session:
		v.bad("chunk %d is one of another session, %s", seq, h.Session)
		return
	case h.Seq != seq:
		v.bad("chunk %d says that it is chunk %d", seq, h.Seq)
		return
	case before != "" && h.Before != before:
		v.bad("chunk %d doesn't follow the chunk before it: their hashes differ", seq)
	}
	if seq == 0 {
		head, rest, err := recording.ReadHead(lines)
		if err == nil && head.Session != v.reader.session {
			err = fmt.Errorf("it is that of %.64s", head.Session)
		}
		if err != nil {
			v.bad("the first chunk's head is wrong: %v", err)
			return
		}
		v.head, lines = &head, rest
	}
	for l, err := range recording.Lines(lines) {
		if err != nil {
			v.bad("chunk %d can't be read: %v", seq, err)
			return
		}
		v.bytes += int64(len(l.Raw))
		if l.Kind == 'm' {
			v.report.add(Unproven, "the agent noted %s after the start: %.512s", l.At.Round(time.Second), l.Text)
		}
	}
	v.opened++
}

// bad is a chunk that is wrong.
func (v *verification) bad(format string, args ...any) {
	v.chained = false
	v.report.add(Wrong, format, args...)
}

// gaps returns the runs of chunks below a number that aren't there and of which the manifest doesn't say that they are missing.
func (v *verification) gaps(count int, said []recording.Missing) {
	for first := 0; first < count; {
		if first < len(v.chunks) && v.chunks[first] != "" {
			first++
			continue
		}
		last := first
		for last+1 < count && (last+1 >= len(v.chunks) || v.chunks[last+1] == "") {
			last++
		}
		if !slices.ContainsFunc(said, func(m recording.Missing) bool { return m.First <= first && last <= m.Last }) {
			v.report.add(Wrong, "%s, and nothing says why", missing(first, last))
		}
		first = last + 1
	}
}

// manifest holds the chunks against the manifest, and the manifest against who may sign one.
func (v *verification) manifest() {
	if v.signed == nil {
		v.unsealed()
		return
	}
	m := v.signed.Manifest
	if m.Session != v.reader.session {
		v.report.add(Wrong, "the manifest is that of another session, %s", m.Session)
		return
	}
	v.gaps(m.Chunks, m.Missing)
	if len(v.chunks) > m.Chunks {
		v.report.add(Wrong, "there are %s, more than the %d of the manifest", Count(len(v.chunks), "chunk"), m.Chunks)
	}
	if m.Chunks > 0 && len(v.chunks) >= m.Chunks && v.chunks[m.Chunks-1] != "" {
		if v.chunks[m.Chunks-1] == m.Last {
			v.report.add(Proven, "the last chunk is the one that the manifest names")
		} else {
			v.report.add(Wrong, "the last chunk isn't the one that the manifest names")
		}
	}
	if e := v.entry; v.unsaid == nil && e.State == "complete" && (e.Chunks != m.Chunks || e.Bytes != m.Bytes || e.Last != "" && e.Last != m.Last) {
		v.report.add(Wrong, "the manifest isn't the one by which the recording became complete")
	}
	for _, r := range m.Missing {
		v.report.add(Unproven, "the agent says of %s that something is missing: %s", run(r.First, r.Last), r.Why)
	}
	if len(m.Missing) == 0 && v.opened == m.Chunks && v.bytes != m.Bytes {
		v.report.add(Wrong, "the chunks have %d bytes of output, the manifest counts %d", v.bytes, m.Bytes)
	}
	if m.Torn {
		v.report.add(Unproven, "the agent ended while the session lasted: what it showed last may be missing")
	}
	if m.Unrecorded != nil {
		v.report.add(Unproven, "%d bytes at the end were shown and not recorded: %s", m.Unrecorded.Bytes, m.Unrecorded.Why)
	}
	if h := v.head; h != nil && (h.Cluster != m.Cluster || h.Target != m.Target || h.User != m.User || h.Login != m.Login || !h.Started.Equal(m.Started)) {
		v.report.add(Wrong, "the first chunk and the manifest disagree about whose session it was: %s as %s on %s, and %s as %s on %s", h.User, h.Login, h.Target, m.User, m.Login, m.Target)
	}
	v.signature(m)
}

// statement holds the chunks against what the control plane stated while nothing was heard of the agent. It has no signature, but
// there can only be more than it says: what was there then may not have gone.
func (v *verification) statement() {
	if v.stated == nil {
		return
	}
	if v.stated.Session != v.reader.session {
		v.report.add(Wrong, "what the control plane stated is about another session, %.64s", v.stated.Session)
		return
	}
	v.looked(v.stated.Chunks, v.stated.Last)
}

// abandoned is statement for what the ledger has of it, in an event that only the control plane can write: so who changes the
// statement has to change the ledger as well.
func (v *verification) abandoned(e audit.Event) {
	if chunks, err := strconv.Atoi(e.Data["chunks"]); err == nil && e.Source == names.WriterFunction+"sweep" {
		v.looked(chunks, e.Data["last"])
	}
}

// looked holds the chunks against how many there were when the control plane looked, and what the last one hashed to.
func (v *verification) looked(chunks int, last string) {
	there := 0
	for _, hash := range v.chunks {
		if hash != "" {
			there++
		}
	}
	if there < chunks {
		v.report.add(Wrong, "the control plane saw %s when it looked, and there are %d", Count(chunks, "chunk"), there)
	}
	if last != "" && !slices.Contains(v.chunks, last) {
		v.report.add(Wrong, "the chunk that was the last one when the control plane looked is not there")
	}
}

// unsealed says why there is no manifest to hold the chunks against.
func (v *verification) unsealed() {
	var said []recording.Missing
	if v.stated != nil {
		said = v.stated.Missing
	}
	v.gaps(len(v.chunks), said)
	if v.sealed {
		return // the report says that it can't be read
	}
	switch {
	case v.unsaid != nil:
		v.report.add(Unproven, "there is no manifest, and the API doesn't say whether there was one: %s", fault.From(v.unsaid).Message)
	case v.entry.State == "complete":
		v.report.add(Wrong, "the manifest is gone: the recording was complete once")
	case v.stated != nil:
		v.report.add(Unproven, "there is no manifest: nothing was heard of agent %.64s after %s, and what it didn't upload is missing until it comes back", v.stated.Agent, v.stated.Lapsed.UTC().Format(time.RFC3339))
	case v.entry.State == "incomplete":
		v.report.add(Wrong, "the control plane stated what there was of the recording when its agent wasn't heard of any more, and the statement is gone")
	default:
		v.report.add(Unproven, "there is no manifest yet: the session lasts, or its agent hasn't uploaded the rest. Chunks at the end may be missing")
	}
}

// signature says who signed the manifest.
func (v *verification) signature(m recording.Manifest) {
	if !v.signed.Verify() {
		v.report.add(Wrong, "the manifest isn't signed by the key of its certificate")
		return
	}
	leaf, err := x509.ParseCertificate(v.signed.Certificate)
	if err != nil {
		v.report.add(Wrong, "the manifest's certificate can't be read: %v", err)
		return
	}
	at := m.Ended
	if at.Before(leaf.NotBefore) { // it was signed later, when the agent was there again
		at = leaf.NotBefore
	}
	var host identity.Host
	err = fmt.Errorf("no trust document is held")
	for _, ca := range v.evidence.Hosts {
		if host, err = certs.VerifyX509Host([][]byte{v.signed.Certificate}, ca, at, identity.KindAgent); err == nil {
			break
		}
	}
	switch {
	case err != nil && !v.ours(leaf):
		v.report.add(Unproven, "no trust document that this machine holds has the key that signed the certificate of the manifest: it is a former key of the cluster, or the manifest is forged")
	case err != nil:
		v.report.add(Wrong, "the manifest's certificate is none that an agent could sign with: %v", err)
	case host.ID != m.Agent:
		v.report.add(Wrong, "the manifest names agent %s, and agent %s signed it", m.Agent, host.ID)
	case host.Cluster != m.Cluster:
		v.report.add(Wrong, "the manifest is that of another cluster, %s", m.Cluster)
	case !slices.ContainsFunc(host.Targets, func(t identity.Target) bool { return t.String() == m.Target }):
		v.report.add(Wrong, "agent %s signed the manifest, but doesn't serve %s", host.ID, m.Target)
	default:
		v.report.add(Proven, "agent %s, which serves %s, signed the manifest: %s as %s, %s to %s, %d bytes of output", host.ID, m.Target, m.User, m.Login,
			m.Started.UTC().Format(time.RFC3339), m.Ended.UTC().Format(time.RFC3339), m.Bytes)
	}
}

// ours reports whether a key that is held signed a certificate, whatever else is wrong with it.
func (v *verification) ours(leaf *x509.Certificate) bool {
	for _, ca := range v.evidence.Hosts {
		for _, key := range ca.Keys {
			issuer := &x509.Certificate{PublicKey: key, PublicKeyAlgorithm: x509.ECDSA}
			if issuer.CheckSignature(leaf.SignatureAlgorithm, leaf.RawTBSCertificate, leaf.Signature) == nil {
				return true
			}
		}
	}
	return false
}

// about reports whether an event that is proven comes from an agent of the recording's target, which nobody else could name in an
// event. What the recording itself says of its agent doesn't count: who forges it could name another.
func (v *verification) about(e audit.Event) bool {
	if v.unsaid == nil {
		return e.Target == v.entry.Node
	}
	return v.head != nil && e.Target == name(v.head.Target)
}

// speaking are the types of events that a recording is held against.
var speaking = []audit.Type{audit.SessionStart, audit.RecordingChunk, audit.RecordingEnd, audit.RecordingAbandoned}

// command holds the command against what the ledger has of it since the session began: the hash of the whole, where the event
// hasn't all of it. What the event had no room for says nothing.
func (v *verification) command(e audit.Event) {
	shown, there := e.Data["command"]
	hash, hashed := e.Data["command_sha256"]
	if v.head == nil || !there && !hashed {
		return
	}
	same := shown == v.head.Command
	if hashed {
		same = strings.ToLower(hash) == recording.Hash([]byte(v.head.Command))
	}
	if !same {
		v.report.add(Wrong, "the recording's command isn't the one that the audit log has of the session's start")
		return
	}
	v.report.add(Proven, "the audit log has the same command: %s", Count(len(v.head.Command), "byte"))
}

// events holds the chunks against what the ledger holds since they were made.
func (v *verification) events() {
	told, highest, unproven, foreign := 0, -1, 0, 0
	for l, err := range v.evidence.Events {
		if err != nil {
			v.report.add(Unproven, "the session's events can't be read: %s", fault.From(err).Message)
			return
		}
		e, err := audit.Parse([]byte(l.Event))
		if err != nil || e.SessionID != v.reader.session || !slices.Contains(speaking, e.Type) {
			continue
		}
		switch {
		case e.Type == audit.SessionStart:
			if l.Standing == "proven" && v.about(e) {
				v.command(e)
			}
		case l.Standing != "proven":
			unproven++
		case e.Type == audit.RecordingAbandoned:
			v.abandoned(e)
		case !v.about(e):
			foreign++
		case e.Type == audit.RecordingEnd:
			v.end(e)
		default:
			if seq, ok := v.told(e); ok {
				told, highest = told+1, max(highest, seq)
			}
		}
	}
	if unproven > 0 {
		v.report.add(Unproven, "of the events about chunks, %d can't be proven and were not looked at", unproven)
	}
	if foreign > 0 {
		v.report.add(Unproven, "of the events about chunks, %d come from agents of other targets", foreign)
	}
	switch have := len(v.chunks); {
	case have == 0 || v.ended:
	case highest == have-1:
		v.report.add(Proven, "the audit log has the hash of chunk %d, the last one, which proves all before it", highest)
	case highest < 0:
		v.report.add(Unproven, "the audit log has no hash of any chunk: nothing but the manifest speaks for them")
	default:
		v.report.add(Unproven, "the audit log has no hash of the chunks after %d of %d", highest, have-1)
	}
	if told > 0 {
		v.report.add(Proven, "the audit log has the hashes of %s, and they are the same", Count(told, "chunk"))
	}
}

// told holds a chunk against the event about it, and reports whether they agree.
func (v *verification) told(e audit.Event) (int, bool) {
	seq, err := strconv.Atoi(e.Data["seq"])
	if err != nil || seq < 0 || seq >= recording.MaxChunks {
		v.report.add(Wrong, "an event of the audit log names chunk %.32q", e.Data["seq"])
		return 0, false
	}
	switch hash := strings.ToLower(e.Data["sha256"]); {
	case seq < len(v.chunks) && v.chunks[seq] == hash:
		return seq, true
	case seq < len(v.chunks) && v.chunks[seq] != "":
		v.report.add(Wrong, "chunk %d isn't the one that the audit log has the hash of", seq)
	case v.signed == nil:
		v.report.add(Unproven, "chunk %d was recorded and isn't there yet", seq)
	case slices.ContainsFunc(v.signed.Manifest.Missing, func(m recording.Missing) bool { return m.First <= seq && seq <= m.Last }):
	default:
		v.report.add(Wrong, "chunk %d was recorded, as the audit log proves, and is not there", seq)
	}
	return 0, false
}

// end holds the manifest against the event about it.
func (v *verification) end(e audit.Event) {
	switch {
	case v.signed == nil && !v.sealed:
		chunks, err := strconv.Atoi(e.Data["chunks"])
		if err != nil {
			v.report.add(Wrong, "an event of the audit log says that the recording ended with %.32q chunks", e.Data["chunks"])
			return
		}
		v.report.add(Unproven, "the recording ended with %s, as the audit log proves; its manifest isn't there yet", Count(chunks, "chunk"))
	case v.signed == nil:
	case e.Data["last"] != v.signed.Manifest.Last || e.Data["chunks"] != strconv.Itoa(v.signed.Manifest.Chunks):
		v.report.add(Wrong, "the audit log and the manifest disagree about how the recording ended")
	default:
		v.ended = true
		v.report.add(Proven, "the audit log has the manifest's end: %s and the last one's hash", Count(v.signed.Manifest.Chunks, "chunk"))
	}
}
