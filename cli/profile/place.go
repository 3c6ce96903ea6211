package profile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/stile-dev/stile/pkg/fault"
)

// room is what Prepare makes sure of: more than a login writes.
const room = 128 << 10

// Prepare makes sure that a login can be kept, before one is asked for: the directory is there and can be
// written, and the disk has room. The caller calls undo when nothing is kept after all; it takes away the
// directories that were made for it.
func (p *Profile) Prepare() (undo func(), err error) {
	missing := missing(p.dir)
	undo = func() {
		for _, dir := range missing {
			_ = os.Remove(dir) // stays if something is in it
		}
	}
	if err := p.try(); err != nil {
		undo()
		return func() {}, p.unusable(err)
	}
	return undo, nil
}

// try writes a meaningless file and removes it.
func (p *Profile) try() error {
	if err := os.MkdirAll(p.dir, 0o700); err != nil {
		return fmt.Errorf("creating %s: %w", p.dir, err)
	}
	f, err := os.CreateTemp(p.dir, ".new-*")
	if err != nil {
		return fmt.Errorf("writing in %s: %w", p.dir, err)
	}
	_, err = f.Write(make([]byte, room))
	if err := errors.Join(err, f.Close(), os.Remove(f.Name())); err != nil {
		return fmt.Errorf("writing in %s: %w", p.dir, err)
	}
	return nil
}

// missing are the directories from dir up that don't exist, the deepest first.
func missing(dir string) []string {
	var list []string
	for {
		if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
			return list
		}
		list = append(list, dir)
		dir = filepath.Dir(dir)
	}
}

func (p *Profile) unusable(err error) error { return unusable(p.home, err) }

// unusable names what is wrong with the place where files are kept. Other errors stay as they are.
func unusable(home string, err error) error {
	if f := placeFault(home, err); f != nil {
		return f
	}
	return err
}

// placeFault is nil when the error says nothing of the place.
func placeFault(home string, err error) *fault.Fault {
	errno, ok := errors.AsType[syscall.Errno](err)
	if !ok {
		return nil
	}
	switch errno {
	case syscall.ENOSPC, syscall.EDQUOT:
		return fault.Newf(fault.BadInput, "free some space, or set STILE_HOME to a directory on another disk",
			"there is no space left on the disk that holds %s", home).Because(err)
	case syscall.EACCES, syscall.EPERM, syscall.EROFS, syscall.ENOENT, syscall.ENOTDIR, syscall.EISDIR, syscall.ELOOP, syscall.ENAMETOOLONG:
		return fault.Newf(fault.BadInput, "set STILE_HOME to a directory that you can write to",
			"credentials can't be stored in %s: %s", home, errno).Because(err)
	default:
		return nil
	}
}
