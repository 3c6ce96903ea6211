package status

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// Program returns the file that the agent in dir runs, which an upgrade may have taken away from its path. It fails when the
// agent doesn't answer, or its process can't be seen from here.
func Program(ctx context.Context, dir string) (fs.FileInfo, error) {
	c, err := dial(ctx, dir)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("looking for the agent's process: %w", err)
	}
	var peer *syscall.Ucred
	var unknown error
	err = raw.Control(func(fd uintptr) {
		peer, unknown = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	})
	if err := errors.Join(err, unknown); err != nil {
		return nil, fmt.Errorf("looking for the agent's process: %w", err)
	}
	return os.Stat(fmt.Sprintf("/proc/%d/exe", peer.Pid)) // leads to the file, even where its name is another's
}
