//go:build !linux

package process

import (
	"errors"
	"syscall"
)

// separate fails: only Linux has user namespaces.
func (*Jail) separate(*syscall.SysProcAttr) error {
	return errors.New("only root can confine a program on this system")
}
