package sshd

import (
	"os"
	"os/exec"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// startAs starts a process whose login user, by which the kernel's audit trail knows who began something whatever sudo(8)
// makes of it, is a user. Where the kernel refuses that, the process starts without, and noted is told why.
//
// Only a thread itself may set its login user, and its children inherit it (proc_pid_loginuid): so a thread is marked,
// starts the process and ends. Go starts no other thread from one that a goroutine has locked.
func startAs(cmd *exec.Cmd, user uint32, noted func(error)) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked, so that the thread ends with the goroutine
		if unix.Gettid() == os.Getpid() {
			done <- startAs(cmd, user, noted) // the first thread has to stay as it is: another one is taken while this one is held
			runtime.UnlockOSThread()
			return
		}
		if err := os.WriteFile("/proc/thread-self/loginuid", strconv.AppendUint(nil, uint64(user), 10), 0); err != nil {
			noted(err)
		}
		done <- cmd.Start()
	}()
	return <-done
}
