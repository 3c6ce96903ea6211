package main

import (
	"fmt"
	"math"
	"os"
	"os/signal"
	"strconv"

	"golang.org/x/sys/unix"
)

// keepInherited keeps the files that this process inherited, beyond the standard three, from reaching the
// commands of users: whoever started the agent may not have thought of it.
func keepInherited() error {
	if unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC) == nil {
		return nil
	}
	entries, err := os.ReadDir("/proc/self/fd") // a kernel before 5.11
	if err != nil {
		return fmt.Errorf("listing inherited files: %w", err)
	}
	for _, e := range entries {
		if fd, err := strconv.Atoi(e.Name()); err == nil && fd > 2 {
			unix.CloseOnExec(fd)
		}
	}
	return nil
}

// outlive has the agent take a signal and do nothing, until the function that it returns is called. Ignoring it would be
// inherited by the commands of users (execve(2)), for whom a hangup must be one; so this undoes what nohup did, too.
func outlive(sig os.Signal) (stop func()) {
	taken := make(chan os.Signal, 1)
	signal.Notify(taken, sig)
	return func() { signal.Stop(taken) }
}
