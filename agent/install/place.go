package install

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/stile-dev/stile/pkg/durable"
	"github.com/stile-dev/stile/pkg/fault"
)

// What root runs, and what says what root runs, is where root alone can change it: the file, and each directory above it, none of
// which is a symbolic link, since what that leads to has directories of its own. What is checked so can't be exchanged before
// it is used.

// guarded refuses a path that others than root could replace, or make something of. What isn't there is judged by the first
// directory above that is. Hint says what to do.
func guarded(path, hint string) error {
	for at := path; ; at = filepath.Dir(at) {
		info, err := os.Lstat(at)
		switch {
		case errors.Is(err, fs.ErrNotExist) && at != "/":
			continue
		case err != nil:
			return fault.Newf(fault.BadInput, hint, "%s can't be read", at).Because(err)
		case info.Mode()&fs.ModeSymlink != 0:
			return fault.Newf(fault.BadInput, "name what it leads to, or put a file or directory of its own there", "%s is a symbolic link", at)
		case at == path && !info.Mode().IsRegular():
			return fault.Newf(fault.BadInput, "remove it, or use another path", "%s is not a file", at)
		case others(info):
			return fault.Newf(fault.Denied, hint, "others than root can replace %s, because they can change %s", path, at)
		}
		if at == "/" {
			return nil
		}
	}
}

// others reports whether somebody other than root may change a file or what is in a directory. Root's own group counts as others:
// where there is an access control list, the group's bits say what anybody in it may do at most, and containers that run as any
// user have group 0.
func others(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return !ok || st.Uid != 0 || info.Mode().Perm()&0o022 != 0
}

// put replaces a file whole, or leaves it as it is. The new one is made beside it, and is nothing that was there before: a link
// under its name is removed, never followed.
func put(path, text string, mode os.FileMode) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("writing %s: %w", path, err)
		}
	}()
	dir, beside := filepath.Dir(path), path+".new"
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := os.Remove(beside); err != nil && !errors.Is(err, fs.ErrNotExist) { // left by a run that was killed
		return err
	}
	f, err := os.OpenFile(beside, os.O_WRONLY|os.O_CREATE|os.O_EXCL|syscall.O_NOFOLLOW, mode)
	if err != nil {
		return err
	}
	err = fill(f, text, mode)
	if err == nil {
		err = os.Rename(beside, path)
	}
	if err != nil {
		_ = os.Remove(beside)
		return err
	}
	return durable.SyncDir(dir)
}

// fill writes a file whose mode no umask changes, and closes it.
func fill(f *os.File, text string, mode os.FileMode) error {
	_, err := f.WriteString(text)
	return errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
}
