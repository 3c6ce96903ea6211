package ecs

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// What an image may unpack to: a layer that is small may be large when it is unpacked.
const (
	maxUnpacked = 512 << 20 // bytes
	maxEntries  = 10_000
)

// extract unpacks a layer into the root and compares what was unpacked with its digest. Only files and directories are
// known: a link could lead out of the root, and a device could be anything.
func extract(r *os.Root, layer []byte, mediaType, diffID string, left *int64) error {
	var in io.Reader = bytes.NewReader(layer)
	if strings.HasSuffix(mediaType, "+gzip") || strings.HasSuffix(mediaType, ".gzip") {
		z, err := gzip.NewReader(in)
		if err != nil {
			return fmt.Errorf("unpacking: %w", err)
		}
		in = z
	}
	sum := sha256.New()
	bounded := &io.LimitedReader{R: in, N: *left + 1}
	all := io.TeeReader(bounded, sum)
	archive := tar.NewReader(all)
	for n := 0; ; n++ {
		head, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		switch {
		case bounded.N <= 0:
			return fmt.Errorf("it unpacks to more than %d bytes", maxUnpacked)
		case err != nil:
			return fmt.Errorf("unpacking: %w", err)
		case n >= maxEntries:
			return fmt.Errorf("it has more than %d entries", maxEntries)
		}
		err = put(r, head, archive)
		switch {
		case bounded.N <= 0:
			return fmt.Errorf("it unpacks to more than %d bytes", maxUnpacked)
		case err != nil:
			return fmt.Errorf("unpacking %q: %w", head.Name, err)
		}
	}
	if _, err := io.Copy(io.Discard, all); err != nil {
		return fmt.Errorf("unpacking: %w", err)
	}
	if bounded.N <= 0 {
		return fmt.Errorf("it unpacks to more than %d bytes", maxUnpacked)
	}
	*left = bounded.N - 1
	if got := "sha256:" + hex.EncodeToString(sum.Sum(nil)); got != diffID {
		return fmt.Errorf("it unpacks to %s, not to %s", got, diffID)
	}
	return nil
}

// put makes one entry, as its owner if we are root.
func put(r *os.Root, head *tar.Header, content io.Reader) error {
	name := path.Clean(strings.TrimSuffix(head.Name, "/"))
	if !filepath.IsLocal(name) || name == "." {
		return errors.New("the name leads out of the image")
	}
	mode := fs.FileMode(head.Mode & 0o777)
	switch head.Typeflag {
	case tar.TypeDir:
		if err := mkdirs(r, name); err != nil {
			return err
		}
	case tar.TypeReg:
		if err := mkdirs(r, path.Dir(name)); err != nil {
			return err
		}
		f, err := r.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		_, err = io.Copy(f, content)
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
	default:
		return fmt.Errorf("entries of type %q are not supported", head.Typeflag)
	}
	if os.Geteuid() == 0 {
		if err := r.Chown(name, head.Uid, head.Gid); err != nil {
			return err
		}
	}
	return r.Chmod(name, mode)
}

// mkdirs makes a directory and those above it, open to all whatever this process's umask is.
func mkdirs(r *os.Root, name string) error {
	if name == "." {
		return nil
	}
	if err := mkdirs(r, path.Dir(name)); err != nil {
		return err
	}
	err := r.Mkdir(name, 0o755)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return r.Chmod(name, 0o755)
}
