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

// finish seals what an earlier run of the agent left behind.
func (s *Spool) finish(k *kept) {
	k.mu.Lock()
	over := k.state.Over
	k.mu.Unlock()
	if !over {
		for s.drain(k) { // each time one
			continue
		}
		if !s.sealed(k) {
			return // the log says why; the next start tries again
		}
		k.mu.Lock()
		k.state.Over, k.state.Torn = true, true
		k.state.Ended = k.about.Head.Started.Add(k.state.Last)
		k.mu.Unlock()
		s.config.Told(Event{Kind: Torn, Head: k.about.head()})
	}
	s.sign(k)
}

// drain seals the oldest journal of a recording, and reports whether there was one.
func (s *Spool) drain(k *kept) bool {
	sealing <- struct{}{}
	defer func() { <-sealing }()
	entries, err := os.ReadDir(k.dir)
	if err != nil {
		s.config.Log.Error("Recording not sealed", "session_id", k.about.Head.Session, "error", err)
		return false
	}
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), journals)
		seq, _, err := recording.ParseName(name)
		if !ok || err != nil {
			continue
		}
		err = s.seal(k, seq)
		if err != nil && s.release() {
			err = s.seal(k, seq)
		}
		if err != nil {
			s.config.Log.Error("Recording not sealed", "session_id", k.about.Head.Session, "chunk", seq, "error", err)
			return false
		}
		return true
	}
	return false
}

// sealed reports whether a recording has no journal any more.
func (s *Spool) sealed(k *kept) bool {
	entries, err := os.ReadDir(k.dir)
	if err != nil {
		return false
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), journals) {
			return false
		}
	}
	return true
}

// seal makes a chunk of a journal. A crash at any moment leaves either the journal, of which the same chunk is made again, or
// the chunk.
func (s *Spool) seal(k *kept, seq int) error {
	path := k.journal(seq)
	k.mu.Lock()
	st := k.state
	k.mu.Unlock()
	if seq < st.Next.Seq {
		return s.drop(path)
	}
	var head *recording.Head
	if st.Next.Seq == 0 {
		h := k.about.head()
		head = &h
	}
	c := recording.NewChunk(st.Next, head)
	shown, last, err := fill(c, path)
	if seq > st.Next.Seq && err == nil {
		err = fmt.Errorf("pieces %d to %d are not there", st.Next.Seq, seq-1)
	}
	why := ""
	switch {
	case errors.Is(err, errTorn): // what was whole is kept; the rest was shown to nobody
	case err != nil:
		why = err.Error()
		c.Note(last, "something is missing here: "+why)
	}
	object, next, err := c.Seal()
	if err != nil {
		return err
	}
	chunk := filepath.Join(k.dir, recording.ChunkName(st.Next.Seq))
	if err := write(chunk, object); err != nil {
		return err
	}
	if why != "" {
		st.Missing = append(st.Missing, recording.Missing{First: st.Next.Seq, Last: st.Next.Seq, Why: why})
	}
	made := st.Next.Seq
	st.Next, st.Bytes, st.Last = next, st.Bytes+shown, max(st.Last, last)
	if err := writeJSON(filepath.Join(k.dir, stateName), st); err != nil {
		return err
	}
	s.used.Add(int64(len(object)))
	k.mu.Lock()
	k.state = st
	k.mu.Unlock()
	if why != "" {
		err = os.Rename(path, strings.TrimSuffix(path, journals)+damaged)
		s.config.Told(Event{Kind: Damaged, Head: k.about.head(), Chunk: made, Why: why})
	} else {
		err = s.drop(path)
	}
	s.config.Told(Event{Kind: Sealed, Head: k.about.head(), Chunk: made, Hash: next.Before, Bytes: shown})
	s.wake()
	return err
}

// drop removes a journal that is in a chunk.
func (s *Spool) drop(path string) error {
	info, err := os.Stat(path)
	if err == nil {
		err = os.Remove(path)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		s.used.Add(-info.Size())
	}
	return err
}

// sign writes the manifest of a recording that is over. It is tried again when the agent had no certificate.
func (s *Spool) sign(k *kept) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.state.Over || k.state.Signed {
		return
	}
	h, st := k.about.Head, k.state
	m := recording.Manifest{
		V: 1, Session: h.Session, Cluster: h.Cluster, Agent: h.Agent, Target: h.Target, User: h.User, Login: h.Login,
		Started: h.Started, Ended: st.Ended.UTC().Truncate(time.Millisecond), Chunks: st.Next.Seq, Last: st.Next.Before, Bytes: st.Bytes,
		Missing: st.Missing, Torn: st.Torn, Unrecorded: st.Unrecorded, Input: st.Input,
	}
	if m.Ended.Before(m.Started) {
		m.Ended = m.Started
	}
	b, err := s.config.Sign(m)
	if err == nil {
		err = write(filepath.Join(k.dir, recording.ManifestName), b)
	}
	if err == nil {
		st.Signed = true
		err = writeJSON(filepath.Join(k.dir, stateName), st)
	}
	if err != nil {
		s.config.Log.Error("Manifest of a recording not written", "session_id", h.Session, "error", err)
		return
	}
	s.used.Add(int64(len(b)))
	k.state = st
	go s.config.Told(Event{Kind: Ended, Head: k.about.head(), Manifest: m})
	s.wake()
}
