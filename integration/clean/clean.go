// Package clean runs a program again where its user's home is an empty directory, so that what a login shell reads
// at its start (which may take seconds, or wait for a lock) neither fails a test nor enters a measure.
//
// It needs root and a mount namespace, and touches nothing outside of it. Its entry point is [Run].
package clean

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"os/user"
	"path/filepath"
	"strings"
	"syscall"
)

// cleaned marks the process that already runs with a clean home.
const cleaned = "STILE_INTEGRATION_CLEANED"

// Dir is the directory below which the clean home of this process is; "" when it has none yet.
func Dir() string { return os.Getenv(cleaned) }

// Run runs this program again where the user's home, as /etc/passwd names it, is an empty directory below dir: bash
// reads .bashrc when an SSH server runs it. It takes a mount namespace, so root; the machine's own file is not touched.
// It reports whether the program ran, and how it ended; when it did not, the caller goes on itself, and the error, if
// there is one, says why the home is what it was.
func Run(dir string) (ran bool, status int, err error) {
	if Dir() != "" {
		return false, 0, bindPasswd(dir)
	}
	if os.Geteuid() != 0 {
		return false, 0, errors.New("not root: shells read the user's own start-up files, as everywhere here")
	}
	self, err := os.Executable()
	if err != nil {
		return false, 0, err
	}
	cmd := exec.Command(self, os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), cleaned+"="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	if err := cmd.Start(); err != nil {
		return false, 0, fmt.Errorf("no mount namespace (%w): shells read the user's own start-up files, as everywhere here", err)
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGQUIT) // the terminal sends the first to both
	go func() {
		for sig := range signals {
			_ = cmd.Process.Signal(sig)
		}
	}()
	err = cmd.Wait()
	if _, ok := errors.AsType[*exec.ExitError](err); ok {
		err = nil
	}
	return true, cmd.ProcessState.ExitCode(), err
}

// bindPasswd puts a copy of /etc/passwd in which the user's home is empty over the file, in this namespace alone.
func bindPasswd(dir string) error {
	me, err := user.Current()
	if err != nil {
		return err
	}
	b, err := os.ReadFile("/etc/passwd")
	if err != nil {
		return err
	}
	home := filepath.Join(dir, "home")
	if err := os.MkdirAll(home, 0o700); err != nil {
		return err
	}
	lines := strings.Split(string(b), "\n")
	for i, line := range lines {
		if fields := strings.Split(line, ":"); fields[0] == me.Username && len(fields) == 7 {
			fields[5] = home
			lines[i] = strings.Join(fields, ":")
		}
	}
	own := filepath.Join(dir, "passwd")
	if err := os.WriteFile(own, []byte(strings.Join(lines, "\n")), 0o644); err != nil {
		return err
	}
	// The os/exec package has made the namespace's mounts private.
	if err := syscall.Mount(own, "/etc/passwd", "", syscall.MS_BIND, ""); err != nil {
		return fmt.Errorf("giving the user a clean home: %w", err)
	}
	return nil
}
