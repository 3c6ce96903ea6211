// Package durable puts files in place whole: a reader, and whoever starts after a crash of the machine, finds the old bytes or the
// new ones. Nobody but their owner may read them.
//
// It knows no format. Its entry point is [Write].
package durable

import (
	"errors"
	"os"
	"path/filepath"
)

// Write replaces a file, or makes it, with mode 0600. Several processes may do so at once; the last one's bytes stay. A crash may
// leave a file beside it whose name begins with a dot and the file's own.
func Write(path string, b []byte) error {
	dir := filepath.Dir(path)
	temp, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	if err := errors.Join(temp.Close(), Place(path, temp.Name(), b)); err != nil {
		return err
	}
	return SyncDir(dir)
}

// Place is Write by way of a file in the same directory that nobody else writes meanwhile, and that a crash may leave there. Its
// bytes are durable when it returns, and with [SyncDir] so is its name. When it fails, nothing has changed.
func Place(path, temp string, b []byte) error {
	f, err := os.OpenFile(temp, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(temp, path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(temp))
	}
	return nil
}

// SyncDir has the names in a directory survive a crash of the machine.
func SyncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
