package process

import (
	"os"
	"strconv"
	"sync"
	"syscall"
)

// keepInherited has no file that this program was started with, beyond the three that everybody has, reach what it
// starts: a lock that a script holds around it would otherwise be held for as long as that runs.
var keepInherited = sync.OnceFunc(func() {
	entries, err := os.ReadDir("/dev/fd")
	if err != nil {
		return // a machine without it; nothing is lost but this
	}
	for _, e := range entries {
		if fd, err := strconv.Atoi(e.Name()); err == nil && fd > 2 {
			syscall.CloseOnExec(fd)
		}
	}
})
