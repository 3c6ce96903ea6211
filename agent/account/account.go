// Package account looks people up in the machine's own tables, /etc/passwd and /etc/group, and says how a
// process becomes one of them: ids, groups, home, shell and environment.
//
// It needs no C library, knows nothing of SSH and starts no process but getent, for accounts that come from
// a directory service. Its entry point is [Tables.Lookup].
package account

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Account is one line of the passwd table and the groups that its user is in.
type Account struct {
	Name   string
	UID    uint32
	GID    uint32
	Groups []uint32 // all of them, GID first, as initgroups(3) sets them
	Home   string
	Shell  string // /bin/sh when the table names none
}

// ErrUnknown is returned for a login that the machine doesn't know.
var ErrUnknown = errors.New("no such account on this machine")

// Tables says where to look. The zero value is the machine's own.
type Tables struct {
	Passwd string // /etc/passwd
	Group  string // /etc/group
	Switch string // /etc/nsswitch.conf: getent is asked only where it names a service beyond the files
	// Getent asks the machine's name service for what is not in the tables, with getent's arguments; nil runs getent.
	// It returns no bytes for what the service doesn't know either.
	Getent func(database, key string) ([]byte, error)
}

// Lookup finds a login. It fails with ErrUnknown, or when the tables can't be read.
func (t Tables) Lookup(login string) (Account, error) {
	if login == "" || strings.ContainsAny(login, ":\n\x00/") || login[0] == '-' {
		return Account{}, fmt.Errorf("looking up %q: %w", login, ErrUnknown)
	}
	line, err := t.line(orElse(t.Passwd, "/etc/passwd"), "passwd", login)
	if err != nil {
		return Account{}, fmt.Errorf("looking up %q: %w", login, err)
	}
	a, err := parse(line)
	if err != nil {
		return Account{}, fmt.Errorf("looking up %q: %w", login, err)
	}
	if a.Groups, err = t.groups(a); err != nil {
		return Account{}, fmt.Errorf("looking up the groups of %q: %w", login, err)
	}
	return a, nil
}

// line finds the line of a table whose first field is key, in the file or through getent.
func (t Tables) line(file, database, key string) (string, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(b)) {
		if name, _, ok := strings.Cut(line, ":"); ok && name == key {
			return strings.TrimSuffix(line, "\n"), nil
		}
	}
	out, err := t.getent(database, key)
	if err != nil {
		return "", err
	}
	line, _, _ := strings.Cut(string(out), "\n")
	if name, _, ok := strings.Cut(line, ":"); !ok || name != key {
		return "", ErrUnknown
	}
	return line, nil
}

// getentLimit is how long a name service may take; a login waits for it.
const getentLimit = 3 * time.Second

func (t Tables) getent(database, key string) ([]byte, error) {
	if !t.served(database) {
		return nil, nil
	}
	if t.Getent != nil {
		return t.Getent(database, key)
	}
	program, err := exec.LookPath("getent")
	if err != nil {
		return nil, nil // a machine without a name service has its tables only
	}
	ctx, cancel := context.WithTimeout(context.Background(), getentLimit)
	defer cancel()
	out, err := exec.CommandContext(ctx, program, database, "--", key).Output()
	if _, ok := errors.AsType[*exec.ExitError](err); ok && ctx.Err() == nil {
		return nil, nil // this is how it says that there is none
	}
	return out, err
}

// served reports whether the name service switch knows more sources for a database than the files already read.
// A lookup through getent costs a process, so it isn't made for nothing.
func (t Tables) served(database string) bool {
	b, err := os.ReadFile(orElse(t.Switch, "/etc/nsswitch.conf"))
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(b)) {
		line, _, _ = strings.Cut(line, "#")
		name, services, _ := strings.Cut(line, ":")
		name = strings.TrimSpace(name)
		if name != database && (database != "initgroups" || name != "group") {
			continue
		}
		for s := range strings.FieldsSeq(services) {
			if !slices.Contains([]string{"files", "compat", "db", "systemd"}, s) && !strings.HasPrefix(s, "[") {
				return true
			}
		}
	}
	return false
}

// parse reads name:password:uid:gid:comment:home:shell.
func parse(line string) (Account, error) {
	f := strings.Split(line, ":")
	if len(f) != 7 {
		return Account{}, fmt.Errorf("its passwd line has %d fields instead of 7", len(f))
	}
	uid, err := strconv.ParseUint(f[2], 10, 32)
	if err != nil {
		return Account{}, fmt.Errorf("reading its user id: %w", err)
	}
	gid, err := strconv.ParseUint(f[3], 10, 32)
	if err != nil {
		return Account{}, fmt.Errorf("reading its group id: %w", err)
	}
	return Account{Name: f[0], UID: uint32(uid), GID: uint32(gid), Home: f[5], Shell: orElse(f[6], "/bin/sh")}, nil
}

// groups returns the user's groups: the primary one and all that list the user.
func (t Tables) groups(a Account) ([]uint32, error) {
	b, err := os.ReadFile(orElse(t.Group, "/etc/group"))
	if err != nil {
		return nil, err
	}
	out := []uint32{a.GID}
	lines := bufio.NewScanner(bytes.NewReader(b))
	lines.Buffer(nil, len(b)+1)
	for lines.Scan() {
		f := strings.Split(lines.Text(), ":") // name:password:gid:member,member
		if len(f) != 4 || !slices.Contains(strings.Split(f[3], ","), a.Name) {
			continue
		}
		if gid, err := strconv.ParseUint(f[2], 10, 32); err == nil {
			out = append(out, uint32(gid))
		}
	}
	extra, err := t.getent("initgroups", a.Name) // "name  10 20 30"
	if err != nil {
		return nil, err
	}
	if fields := strings.Fields(string(extra)); len(fields) > 0 && fields[0] == a.Name {
		for _, field := range fields[1:] {
			if gid, err := strconv.ParseUint(field, 10, 32); err == nil {
				out = append(out, uint32(gid))
			}
		}
	}
	first := out[0]
	slices.Sort(out)
	out = slices.DeleteFunc(slices.Compact(out), func(g uint32) bool { return g == first })
	return append([]uint32{first}, out...), lines.Err()
}

// GroupID finds a group's id by its name.
func (t Tables) GroupID(name string) (uint32, error) {
	b, err := os.ReadFile(orElse(t.Group, "/etc/group"))
	if err != nil {
		return 0, fmt.Errorf("looking up group %q: %w", name, err)
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), ":")
		if len(f) >= 3 && f[0] == name {
			gid, err := strconv.ParseUint(f[2], 10, 32)
			return uint32(gid), err
		}
	}
	return 0, fmt.Errorf("looking up group %q: %w", name, ErrUnknown)
}

// Credential is what a child process of root needs to become the user.
func (a Account) Credential() *syscall.Credential {
	return &syscall.Credential{Uid: a.UID, Gid: a.GID, Groups: a.Groups}
}

// Environment returns what a login starts with.
func (a Account) Environment() []string {
	path := "/usr/local/bin:/usr/bin:/bin:/usr/local/games:/usr/games"
	if a.UID == 0 {
		path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	}
	return []string{"HOME=" + a.Home, "USER=" + a.Name, "LOGNAME=" + a.Name, "SHELL=" + a.Shell, "PATH=" + path}
}

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
