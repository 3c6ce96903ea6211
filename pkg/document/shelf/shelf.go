// Package shelf keeps the signed documents that an agent, proxy or client accepted in a directory, so that it
// can decide after a restart without the control plane.
//
// What it reads back is verified again by document.Holder: the directory is no more trusted than the network.
// Its entry points are [Open] and [Shelf.Accept].
package shelf

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/durable"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/strict"
)

// file holds everything but the lists of what was revoked: documents that were accepted together come back together. The
// lists are many times as large as the rest and change seldom; each has a file named by its hash.
const (
	file  = "documents.json"
	lists = "revoked"
)

// maxFile bounds what is read back: the documents' limits in base64, and many rotations.
const maxFile = 64 << 20

// Shelf is a holder with a directory behind it. It is safe for concurrent use in one process; one process owns
// the directory.
type Shelf struct {
	*document.Holder
	path string
	mu   sync.Mutex // orders writing
}

// Open makes a holder (see document.NewHolder) and gives it what is in the directory. The directory is made when
// it is missing, for its owner alone. Documents that no longer verify, such as after the pin was changed, are
// an error that names the file.
func Open(dir, cluster, pin string, lists ...string) (*Shelf, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the directory for documents: %w", err)
	}
	s := &Shelf{Holder: document.NewHolder(cluster, pin, lists...), path: filepath.Join(dir, file)}
	data, err := os.ReadFile(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading documents: %w", err)
	}
	var documents []document.Signed
	if err := strict.JSON(data, maxFile, &documents); err != nil {
		return nil, damaged(s.path, err)
	}
	if err := s.bring(documents); err != nil {
		return nil, err
	}
	// A policy key may have been retired since: what it signed is not in force, and newer documents come through the feed.
	if err := s.Holder.Accept(documents...); err != nil && !document.Outlived(err) {
		return nil, damaged(s.path, err)
	}
	return s, nil
}

func damaged(path string, err error) error {
	return fault.Newf(fault.BadInput, "remove the file to have the documents fetched again; if the root key's pin was changed, check it first",
		"the signed documents kept in %s can't be used: %v", path, err).Because(err)
}

// Accept is document.Holder.Accept, and keeps what is new before it returns. When keeping fails the documents are
// in force nevertheless: newer ones must be, whether or not the disk is full.
func (s *Shelf) Accept(documents ...document.Signed) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.Versions()
	refusal := s.Holder.Accept(documents...)
	if s.Versions() == before {
		return refusal
	}
	return errors.Join(refusal, s.write())
}

// write replaces the file: a crash at any moment leaves the old one or the new one whole, with the lists that it names.
func (s *Shelf) write() error {
	documents := s.Documents()
	stays, err := s.take(documents)
	if err != nil {
		return err
	}
	data, err := json.Marshal(documents)
	if err != nil {
		return fmt.Errorf("writing documents: %w", err)
	}
	if err := replace(s.path, data); err != nil {
		return err
	}
	return s.tidy(stays)
}

// replace writes a file as a whole.
func replace(path string, data []byte) error {
	if err := durable.Write(path, data); err != nil {
		return fmt.Errorf("writing documents: %w", err)
	}
	return nil
}
