package process

import (
	"os"
	"strconv"
	"sync"
	"syscall"
)

// keepInherited keeps the files that this program inherited, beyond the standard three, from reaching what it
// starts: a lock that a script holds around it would otherwise be held for as long as that runs.
var keepInherited = sync.OnceFunc(func() {
	entries, err := os.ReadDir("/dev/fd")
	if err != nil {
		return // a machine without it; only this is lost
	}
	for _, e := range entries {
		if fd, err := strconv.Atoi(e.Name()); err == nil && fd > 2 {
			syscall.CloseOnExec(fd)
		}
	}
})
