package record

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/stile-dev/stile/pkg/durable"
	"github.com/stile-dev/stile/pkg/recording"
)

// sealing bounds how many chunks are made at once, each of which takes some memory.
var sealing = make(chan struct{}, 2)

// reading bounds how many journals are in memory at once, a chunk of each: of single bytes such a one takes many times their size.
var reading = make(chan struct{}, 4)

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
	if err := writeJSON(filepath.Join(k.dir, stateName), st, write); err != nil {
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

// seal makes the chunks of a journal. A crash at any moment leaves the journal, of which the same chunks are made again, or the
// chunks; nothing is uploaded that the state doesn't count.
func (s *Spool) seal(k *kept, number int) error {
	path := k.journal(number)
	k.mu.Lock()
	st := k.state
	k.mu.Unlock()
	if number < st.Journal { // a crash kept it from being removed, and maybe from being told of
		return s.sealedBefore(k, st, number)
	}
	why := ""
	if number > st.Journal {
		why = fmt.Sprintf("journals %d to %d are not there", st.Journal, number-1)
	}
	if err := s.settle(k); err != nil {
		return err
	}
	counted := st.Next.Seq
	reading <- struct{}{}
	part, why, err := s.chunks(k, &st, number, why)
	<-reading
	if err == nil {
		err = durable.SyncDir(k.dir)
	}
	if err != nil {
		if part.Next.Seq > counted && durable.SyncDir(k.dir) == nil && s.save(k, part) == nil { // S3 can have these, and the disk their room
			s.weighMade(k, part.Made, counted)
			counted = part.Next.Seq
			s.wake()
		}
		for _, m := range st.Made { // the disk may need their room
			if m.Seq >= counted {
				_ = os.Remove(filepath.Join(k.dir, recording.ChunkName(m.Seq)))
			}
		}
		return err
	}
	st.Journal, st.Cuts = number+1, 0
	if err := s.save(k, st); err != nil {
		return err
	}
	s.keepFree(k, -k.takeSpare(number))
	s.weighMade(k, st.Made, counted)
	s.tell(k, st.Made)
	if why != "" {
		s.config.Told(Event{Kind: Damaged, Head: k.about.head(), Chunk: st.Next.Seq - 1, Why: why})
		err = os.Rename(path, strings.TrimSuffix(path, journals)+damaged)
	} else {
		err = s.drop(k, path)
	}
	s.wake()
	return err
}

// takeSpare returns what was kept free for the chunks of a journal, which are made now.
func (k *kept) takeSpare(number int) int64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	n := k.spares[number]
	delete(k.spares, number)
	return n
}

// sealedBefore is of a journal whose chunks the state counts already.
func (s *Spool) sealedBefore(k *kept, st state, number int) error {
	path := k.journal(number)
	for _, err := range readJournal(path) {
		if errors.Is(err, errDamaged) { // it was to be kept
			return os.Rename(path, strings.TrimSuffix(path, journals)+damaged)
		}
	}
	if number == st.Journal-1 {
		s.tell(k, st.Made)
	}
	return s.drop(k, path)
}

// weighMade counts chunks from a number on.
func (s *Spool) weighMade(k *kept, all []made, from int) {
	for _, m := range all {
		if m.Seq >= from {
			s.weigh(k, m.Size)
		}
	}
}

func (s *Spool) tell(k *kept, all []made) {
	for _, m := range all {
		s.config.Told(Event{Kind: Sealed, Head: k.about.head(), Chunk: m.Seq, Hash: m.Hash, Bytes: m.Shown, Size: m.Size})
	}
}

// chunks makes the chunks of a journal's entries, and says what is missing in the last of them; why, if something is already. When
// it fails, part is how far it got.
func (s *Spool) chunks(k *kept, st *state, number int, why string) (part state, missing string, err error) {
	if st.Cuts == 0 || number > st.Journal {
		st.Cuts, st.Made = 0, nil
	}
	st.Journal, part = number, *st
	_, err = os.Lstat(k.journal(number + 1))
	last, empty := errors.Is(err, fs.ErrNotExist), true
	var entries []entry
	cuts := 0
	for e, err := range readJournal(k.journal(number)) {
		empty = false
		switch {
		case errors.Is(err, errTorn) && last: // of a torn journal the last entry had not been shown yet
		case err != nil:
			why = err.Error()
		case e.kind != entryCut && cuts < st.Cuts: // it is in a chunk already
		case e.kind != entryCut:
			entries = append(entries, e)
		default:
			if cuts++; cuts <= st.Cuts {
				continue
			}
			if err := s.make(k, st, entries, ""); err != nil {
				return part, "", err
			}
			entries, st.Cuts = nil, cuts
			part = *st
		}
	}
	if empty && !last && why == "" {
		why = errEmpty.Error()
	}
	if len(entries) == 0 && why == "" && st.Next.Seq > 0 { // it ends with a cut, or the session ended just when it began
		return part, "", nil
	}
	return part, why, s.make(k, st, entries, why)
}

// make makes a chunk of some entries. What would be too large for one is halved.
func (s *Spool) make(k *kept, st *state, entries []entry, why string) error {
	var head *recording.Head
	if st.Next.Seq == 0 {
		h, err := k.head()
		if err != nil {
			return err
		}
		head = &h
	}
	sealing <- struct{}{}
	c := recording.NewChunk(st.Next, head)
	shown, last := fill(c, entries)
	last = max(last, st.Last)
	if why != "" {
		c.Note(last, "something is missing here: "+why)
	}
	object, next, err := c.Seal()
	<-sealing
	if err != nil && len(entries) > 1 {
		half := len(entries) / 2
		if err := s.make(k, st, entries[:half], ""); err != nil {
			return err
		}
		return s.make(k, st, entries[half:], why)
	}
	if err == nil {
		err = place(filepath.Join(k.dir, recording.ChunkName(st.Next.Seq)), object)
	}
	if err != nil {
		return err
	}
	if why != "" {
		st.Missing = append(st.Missing, recording.Missing{First: st.Next.Seq, Last: st.Next.Seq, Why: why})
	}
	st.Made = append(st.Made, made{st.Next.Seq, next.Before, shown, int64(len(object))})
	st.Next, st.Bytes, st.Last = next, st.Bytes+shown, max(st.Last, last)
	return nil
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
