package record_test

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/klauspost/compress/s2"

	"github.com/stile-dev/stile/agent/record"
	"github.com/stile-dev/stile/pkg/recording"
)

const fuzzed = "ses_01hv0000000000000000000000"

// Whatever a journal holds after a crash, the recording has a manifest and no journal after the next start.
func FuzzJournal(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte("\x00\x00\x00\x0a"))
	f.Add([]byte("\x00\x00\x00\x0a\x01\x02\x03\x04o\x00\x00\x00\x00\x00\x00\x00\x01xyz"))
	f.Add([]byte("\xff\xff\xff\xff\x00\x00\x00\x00o"))
	f.Add(make([]byte, 100))
	f.Add(packed(s2.Encode(nil, lines(8000))))
	f.Add(append(packed(s2.Encode(nil, lines(8000))), packed(nil)[:20]...))
	f.Add(packed(s2.Encode(nil, make([]byte, 1<<20))))
	f.Fuzz(func(t *testing.T, b []byte) {
		dir := t.TempDir()
		own := filepath.Join(dir, fuzzed)
		if err := errors.Join(os.Mkdir(own, 0o700), os.WriteFile(filepath.Join(own, "about.json"), []byte(`{"head":{"session":"`+fuzzed+`"}}`), 0o600),
			os.WriteFile(filepath.Join(own, recording.ChunkName(0)+".journal"), b, 0o600)); err != nil {
			t.Fatal(err)
		}
		s, err := record.Open(record.Config{Dir: dir, Log: slog.New(slog.DiscardHandler), Sign: func(recording.Manifest) ([]byte, error) { return []byte("{}"), nil }})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		s.Resume()
		until(t, "a manifest", func() bool {
			all := s.Pending()
			return len(all) == 1 && all[0].Done && len(all[0].Names) == 2
		})
		chunk, err := s.Read(fuzzed, recording.ChunkName(0))
		if err == nil {
			_, _, err = recording.OpenChunk(chunk)
		}
		if err != nil {
			t.Error(err)
		}
	})
}
