package cgroup

import (
	"bytes"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
)

// mount is one line of /proc/self/mountinfo that is about cgroup v2.
type mount struct {
	point    string // where it is mounted
	root     string // which of its cgroups is visible there
	writable bool
}

// parseMounts finds the mounts of cgroup v2 in a mountinfo file. A line is, by proc_pid_mountinfo(5):
//
//	41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 none rw
//
// number, parent, device, root, mount point, options of the mount, any number of optional fields, a hyphen, type,
// source, options of the file system. Both options may say that it is read-only.
func parseMounts(mountinfo []byte) []mount {
	var out []mount
	for line := range bytes.Lines(mountinfo) {
		fields := strings.Split(strings.TrimSuffix(string(line), "\n"), " ") // other space is not escaped
		if len(fields) < 6 {
			continue
		}
		hyphen := slices.Index(fields[6:], "-") + 6
		if hyphen < 6 || len(fields) < hyphen+4 || fields[hyphen+1] != "cgroup2" {
			continue
		}
		out = append(out, mount{
			point: unescape(fields[4]), root: unescape(fields[3]),
			writable: !readOnly(fields[5]) && !readOnly(fields[hyphen+3]),
		})
	}
	return out
}

func readOnly(options string) bool { return slices.Contains(strings.Split(options, ","), "ro") }

// unescape undoes what the kernel does to spaces, tabs, newlines, backslashes and hashes: \040 and the like.
func unescape(field string) string {
	var out strings.Builder
	for i := 0; i < len(field); i++ {
		if field[i] == '\\' && i+3 < len(field) && octal(field[i+1:i+4]) {
			out.WriteByte((field[i+1]-'0')<<6 | (field[i+2]-'0')<<3 | (field[i+3] - '0'))
			i += 3
			continue
		}
		out.WriteByte(field[i])
	}
	return out.String()
}

func octal(s string) bool {
	return s[0] >= '0' && s[0] <= '3' && s[1] >= '0' && s[1] <= '7' && s[2] >= '0' && s[2] <= '7'
}

var errNoPath = errors.New("this process is in no cgroup v2")

// ownPath finds a process's cgroup v2 in its /proc/PID/cgroup: the line of hierarchy 0, which names no controller
// (cgroups(7)). Those of v1 are numbered from 1.
func ownPath(file []byte) (string, error) {
	for line := range bytes.Lines(file) {
		p, ok := strings.CutPrefix(strings.TrimSuffix(string(line), "\n"), "0::")
		if ok && strings.HasPrefix(p, "/") {
			return p, nil
		}
	}
	return "", errNoPath
}

// dir returns the directory in which the mount shows a cgroup. Paths and roots are relative to the cgroup namespace; one
// that begins above it can't be mapped (cgroup_namespaces(7)).
func (m mount) dir(own string) (string, error) {
	if slices.Contains(strings.Split(own, "/"), "..") || slices.Contains(strings.Split(m.root, "/"), "..") {
		return "", fmt.Errorf("it shows %s, but this process is in %s, outside the cgroup namespace", m.root, own)
	}
	rest, ok := strings.CutPrefix(own, strings.TrimSuffix(m.root, "/"))
	if !ok || rest != "" && rest[0] != '/' {
		return "", fmt.Errorf("it shows %s, but this process is in %s", m.root, own)
	}
	return path.Join(m.point, rest), nil
}

// places returns the directories that may be this process's own cgroup and be written to, and why the others aren't.
func places(mountinfo []byte, own string) ([]string, error) {
	var dirs []string
	var reasons error
	mounts := parseMounts(mountinfo)
	if len(mounts) == 0 {
		return nil, errors.New("none is mounted")
	}
	for _, m := range mounts {
		dir, err := m.dir(own)
		if err == nil && !m.writable {
			err = errors.New("it is mounted read-only")
		}
		if err != nil {
			reasons = join(reasons, fmt.Errorf("%s: %w", m.point, err))
			continue
		}
		dirs = append(dirs, dir)
	}
	return dirs, reasons
}
