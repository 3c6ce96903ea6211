package process

import (
	"os"
	"syscall"
)

// separate puts the program into a user namespace of its own, where the caller's user has the jail's number.
func (j *Jail) separate(attr *syscall.SysProcAttr) error {
	attr.Cloneflags |= syscall.CLONE_NEWUSER
	attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: j.UID, HostID: os.Geteuid(), Size: 1}}
	attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: j.GID, HostID: os.Getegid(), Size: 1}}
	return nil
}
