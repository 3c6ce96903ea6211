package process

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"syscall"
)

// close confines what a command will run. Root gives up its rights by the change of user; somebody else gets the right
// to change the root by a user namespace, in which that user is the only one.
func (j *Jail) close(cmd *exec.Cmd) error {
	if j == nil {
		return nil
	}
	if j.UID == 0 || j.GID == 0 {
		return errors.New("a confined program must not run as root: it would be confined by nothing")
	}
	if cmd.Dir == "" {
		cmd.Dir = "/" // else it would keep the caller's, which is outside
	}
	attr := cmd.SysProcAttr
	attr.Chroot = j.Root
	attr.Credential = &syscall.Credential{Uid: uint32(j.UID), Gid: uint32(j.GID), Groups: []uint32{}}
	if os.Geteuid() == 0 {
		return nil
	}
	attr.Credential.NoSetGroups = true
	return j.separate(attr)
}

// Possible reports whether this user may confine a program on this machine: nil, or why not.
func (j *Jail) Possible() error {
	cmd := exec.Command("/.stile-nothing") // never there: how the attempt fails says whether it came so far
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	if err := j.close(cmd); err != nil {
		return err
	}
	err := cmd.Start()
	if err == nil {
		return errors.Join(errors.New("a file of that name exists"), cmd.Wait())
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return fmt.Errorf("confining a program: %w", err)
}
