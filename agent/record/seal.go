package record

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/stile-dev/stile/pkg/recording"
)

// sealing bounds how many chunks are made at once, each of which takes some memory.
var sealing = make(chan struct{}, 2)

// finish seals what an earlier run of the agent left behind, and signs what could not be signed before.
func (s *Spool) finish(k *kept) {
	k.mu.Lock()
	over := k.state.Over
	k.mu.Unlock()
	if !over {
		for s.drain(k) { // each time one
			continue
		}
		if !s.sealed(k) {
			return // the log says why; it is tried again
		}
		if err := s.tear(k); err != nil {
			s.config.Log.Error("Recording not finished", "session_id", k.about.Head.Session, "error", err)
			return
		}
	}
	s.sign(k)
}

// tear ends a recording whose session an earlier run left open, and tells of the session's end if that run didn't.
func (s *Spool) tear(k *kept) error {
	_, err := os.Stat(filepath.Join(k.dir, endedName))
	told := err == nil
	k.mu.Lock()
	st := k.state
	k.mu.Unlock()
	st.Over, st.Torn = true, !told
	st.Ended = k.about.Head.Started.Add(st.Last)
	if !told {
		s.config.Told(Event{Kind: Torn, Head: k.about.head()})
	}
	return s.save(k, st)
}

// save makes a state the one of a recording, on disk first.
func (s *Spool) save(k *kept, st state) error {
	if err := writeJSON(filepath.Join(k.dir, stateName), st); err != nil {
		return err
	}
	k.mu.Lock()
	k.state = st
	k.mu.Unlock()
	return nil
}

// drain seals the oldest journal of a recording, and reports whether there was one.
func (s *Spool) drain(k *kept) bool {
	number, there, err := k.oldest()
	if err == nil && !there {
		return false
	}
	if err == nil {
		if err = s.seal(k, number); err != nil && s.release() {
			err = s.seal(k, number)
		}
	}
	if err != nil {
		s.config.Log.Error("Recording not sealed", "session_id", k.about.Head.Session, "journal", number, "error", err)
	}
	return err == nil
}

// sealed reports whether a recording has no journal any more.
func (s *Spool) sealed(k *kept) bool {
	_, there, err := k.oldest()
	return err == nil && !there
}

// oldest is the number of a recording's first journal, and whether it has one.
func (k *kept) oldest() (number int, there bool, err error) {
	entries, err := os.ReadDir(k.dir)
	if err != nil {
		return 0, false, err
	}
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), journals)
		if number, _, err := recording.ParseName(name); ok && err == nil {
			return number, true, nil
		}
	}
	return 0, false, nil
}

// piece is a chunk that was made.
type piece struct {
	seq    int
	object []byte
	hash   string
	shown  int64
}

// seal makes chunks of a journal: one, unless it doesn't fit. A crash at any moment leaves the journal, of which the same
// chunks are made again, or the chunks; nothing is uploaded that the state doesn't count.
func (s *Spool) seal(k *kept, number int) error {
	path := k.journal(number)
	k.mu.Lock()
	st := k.state
	k.mu.Unlock()
	if number < st.Journal { // a crash kept it from being removed, and maybe from being told of
		shown, err := output(path)
		if errors.Is(err, errDamaged) { // it was to be kept
			return os.Rename(path, strings.TrimSuffix(path, journals)+damaged)
		}
		if err == nil && shown > 0 && number == st.Journal-1 && st.Next.Seq > 0 {
			s.config.Told(Event{Kind: Sealed, Head: k.about.head(), Chunk: st.Next.Seq - 1, Hash: st.Next.Before, Bytes: shown})
		}
		return s.drop(k, path)
	}
	var entries []entry
	err := readJournal(path, func(e entry) { entries = append(entries, e) })
	if number > st.Journal && (err == nil || errors.Is(err, errTorn)) {
		err = fmt.Errorf("journals %d to %d are not there", st.Journal, number-1)
	}
	why := ""
	if err != nil && !errors.Is(err, errTorn) { // of a torn journal the last entry had not been shown yet
		why = err.Error()
	}
	if len(entries) == 0 && why == "" && st.Next.Seq > 0 { // the session ended just when it began
		st.Journal = number + 1
		if err := s.save(k, st); err != nil {
			return err
		}
		return s.drop(k, path)
	}
	pieces, next, err := s.pieces(k, st.Next, entries, why)
	if err != nil {
		return err
	}
	st.Next, st.Journal = next, number+1
	for _, p := range pieces {
		if err := write(filepath.Join(k.dir, recording.ChunkName(p.seq)), p.object); err != nil {
			return err
		}
		st.Bytes += p.shown
	}
	for _, e := range entries {
		st.Last = max(st.Last, e.at)
	}
	if last := pieces[len(pieces)-1]; why != "" {
		st.Missing = append(st.Missing, recording.Missing{First: last.seq, Last: last.seq, Why: why})
	}
	if err := s.save(k, st); err != nil {
		return err
	}
	for _, p := range pieces {
		s.weigh(k, int64(len(p.object)))
		s.config.Told(Event{Kind: Sealed, Head: k.about.head(), Chunk: p.seq, Hash: p.hash, Bytes: p.shown, Size: int64(len(p.object))})
	}
	if why != "" {
		s.config.Told(Event{Kind: Damaged, Head: k.about.head(), Chunk: pieces[len(pieces)-1].seq, Why: why})
		err = os.Rename(path, strings.TrimSuffix(path, journals)+damaged)
	} else {
		err = s.drop(k, path)
	}
	s.wake()
	return err
}

// pieces makes the chunks of some entries. What would be too large for one is halved.
func (s *Spool) pieces(k *kept, place recording.Place, entries []entry, why string) ([]piece, recording.Place, error) {
	var head *recording.Head
	if place.Seq == 0 {
		h := k.about.head()
		head = &h
	}
	sealing <- struct{}{}
	c := recording.NewChunk(place, head)
	shown, last := fill(c, entries)
	if why != "" {
		c.Note(last, "something is missing here: "+why)
	}
	object, next, err := c.Seal()
	<-sealing
	switch {
	case err == nil:
		return []piece{{place.Seq, object, next.Before, shown}}, next, nil
	case len(entries) < 2:
		return nil, place, err
	}
	half := len(entries) / 2
	first, next, err := s.pieces(k, place, entries[:half], "")
	if err != nil {
		return nil, place, err
	}
	rest, next, err := s.pieces(k, next, entries[half:], why)
	return append(first, rest...), next, err
}

// drop removes a journal that is in a chunk.
func (s *Spool) drop(k *kept, path string) error {
	info, err := os.Stat(path)
	if err == nil {
		err = os.Remove(path)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		s.weigh(k, -info.Size())
	}
	return err
}

// sign writes the manifest of a recording that is over. It is tried again later when the agent has no certificate yet, or
// the disk no room.
func (s *Spool) sign(k *kept) {
	k.signing.Lock()
	defer k.signing.Unlock()
	k.mu.Lock()
	h, st := k.about.Head, k.state
	k.mu.Unlock()
	if !st.Over || st.Signed {
		return
	}
	m := recording.Manifest{
		V: 1, Session: h.Session, Cluster: h.Cluster, Agent: h.Agent, Target: h.Target, User: h.User, Login: h.Login,
		Started: h.Started, Ended: st.Ended.UTC().Truncate(time.Millisecond), Chunks: st.Next.Seq, Last: st.Next.Before, Bytes: st.Bytes,
		Missing: st.Missing, Torn: st.Torn, Unrecorded: st.Unrecorded, Input: st.Input,
	}
	if len(m.Missing) > maxMissing { // so that the manifest stays within its size
		m.Missing = append(m.Missing[:maxMissing:maxMissing], recording.Missing{
			First: m.Missing[maxMissing].First, Last: m.Missing[len(m.Missing)-1].Last, Why: "among these are more that are damaged",
		})
	}
	if m.Ended.Before(m.Started) {
		m.Ended = m.Started
	}
	b, err := s.config.Sign(m)
	if err == nil {
		err = write(filepath.Join(k.dir, recording.ManifestName), b)
	}
	if err == nil {
		s.config.Told(Event{Kind: Ended, Head: k.about.head(), Manifest: m})
		st.Signed = true
		err = s.save(k, st)
	}
	if err != nil {
		s.config.Log.Error("Manifest of a recording not written yet", "session_id", h.Session, "error", err)
		return
	}
	s.weigh(k, int64(len(b)))
	s.wake()
}
