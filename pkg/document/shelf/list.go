package shelf

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/document/revoked"
)

// lists is the directory of the lists' files.
func (s *Shelf) lists() string { return filepath.Join(filepath.Dir(s.path), lists) }

// list is the file of a list with a hash.
func (s *Shelf) list(sha string) string { return filepath.Join(s.lists(), sha) }

// take writes the lists that aren't there yet, and leaves in the documents their SHA-256 in the place of their entries. It
// returns the files that stay.
func (s *Shelf) take(documents []document.Signed) (stays map[string]bool, err error) {
	stays = map[string]bool{}
	for _, d := range documents {
		for name, r := range d.Lists {
			sum := sha256.Sum256(r.Entries)
			sha := hex.EncodeToString(sum[:])
			if stays[sha] = true; len(r.Entries) > 0 {
				if err := s.put(sha, r.Entries); err != nil {
					return nil, err
				}
			}
			d.Lists[name] = revoked.Records{Whole: true, Entries: sum[:]}
		}
	}
	return stays, nil
}

func (s *Shelf) put(sha string, entries []byte) error {
	path := s.list(sha)
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	if err := os.MkdirAll(s.lists(), 0o700); err != nil {
		return fmt.Errorf("making the directory for revocations: %w", err)
	}
	return replace(path, entries)
}

// tidy removes the files of lists that are not in force any more.
func (s *Shelf) tidy(stays map[string]bool) error {
	files, err := os.ReadDir(s.lists())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, f := range files {
		if !stays[f.Name()] {
			err = errors.Join(err, os.Remove(s.list(f.Name())))
		}
	}
	if err != nil {
		return fmt.Errorf("removing revocations that are not in force: %w", err)
	}
	return nil
}

// bring puts the lists in the places of their hashes. One that is lost is taken for empty, and then isn't the one that the
// document names.
func (s *Shelf) bring(documents []document.Signed) error {
	for _, d := range documents {
		for name, r := range d.Lists {
			entries, err := read(s.list(hex.EncodeToString(r.Entries)))
			if err != nil {
				return err
			}
			d.Lists[name] = revoked.Records{Whole: true, Entries: entries}
		}
	}
	return nil
}

// read returns what is in a file of a list; nothing for the empty list, which has none.
func read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading revocations: %w", err)
	}
	defer f.Close()
	entries, err := io.ReadAll(io.LimitReader(f, revoked.MaxBytes+1))
	if err != nil {
		return nil, fmt.Errorf("reading revocations: %w", err)
	}
	return entries, nil
}
