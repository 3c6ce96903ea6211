package main

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/stile-dev/stile/integration/proc"
	"github.com/stile-dev/stile/integration/soak/rule"
)

// Bounds of what lies on disk.
const (
	mostAgent = 4 << 20 // bytes of an agent's state directory, with spool: two segments and the reserve are 2.25 MiB
	mostHome  = 1 << 20 // bytes of somebody's home
	mostFiles = 40      // in either
)

// leftovers looks for what sessions and functions that have ended left, and for directories that grow.
func (r *run) leftovers() {
	over := map[string]bool{}
	for _, s := range r.sessions.all() {
		over[s.ID] = true
	}
	last := until(context.Background(), bound, func() string { return strings.Join(append(strays(over), r.orphans()...), ", ") })
	r.book.Judge(rule.Leftover, time.Now(), last)
	for _, name := range nodes {
		r.bounded(filepath.Join(r.AgentHome(name), "state"), mostAgent)
	}
	homes, _ := filepath.Glob(filepath.Join(r.dir, "people", "*", "home"))
	for _, home := range homes {
		r.bounded(home, mostHome)
	}
}

// bounded judges a directory's size and number of files.
func (r *run) bounded(dir string, most int64) {
	bytes, files := size(dir)
	fault := ""
	if bytes > most || files > mostFiles {
		fault = fmt.Sprintf("%s holds %d bytes in %d files", dir, bytes, files)
	}
	r.book.Judge(rule.Disk, time.Now(), fault)
}

// size adds up a directory. What vanishes meanwhile doesn't count.
func size(dir string) (bytes int64, files int) {
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil //nolint:nilerr // it's gone
		}
		if info, err := d.Info(); err == nil {
			bytes += info.Size()
			files++
		}
		return nil
	})
	return bytes, files
}

// mark is how a session's processes are told.
var mark = regexp.MustCompile(`(?:^|\x00)STILE_SESSION_ID=(ses_[0-9a-z]+)`)

// strays describes the processes of sessions that are over.
func strays(over map[string]bool) (list []string) {
	for _, pid := range proc.All() {
		env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		if err != nil {
			continue // it has ended, or is somebody else's
		}
		if m := mark.FindSubmatch(env); m != nil && over[string(m[1])] {
			command, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
			list = append(list, fmt.Sprintf("process %d of %s lives on: %.60s", pid, m[1], bytes.ReplaceAll(command, []byte{0}, []byte{' '})))
		}
	}
	return list
}

// orphans describes the functions that outlived the local AWS that started them.
func (r *run) orphans() (list []string) {
	serve, err := r.PID("localstack")
	if err != nil {
		return []string{err.Error()}
	}
	for _, p := range r.programs() {
		if parent, err := proc.ParentOf(p.pid); strings.HasPrefix(p.name, "functions/") && err == nil && parent != serve {
			list = append(list, fmt.Sprintf("%s (process %d) outlived the local AWS", p.name, p.pid))
		}
	}
	return list
}

// groups describes the cgroups of sessions that are over, once agents that started afresh had their chance to clear.
func groups(over map[string]bool) (list []string) {
	for _, pattern := range []string{"/sys/fs/cgroup/stile-sessions/ses_*", "/sys/fs/cgroup/*/stile-sessions/ses_*"} {
		dirs, _ := filepath.Glob(pattern)
		dirs = slices.DeleteFunc(dirs, func(dir string) bool { return !over[filepath.Base(dir)] })
		list = append(list, dirs...)
	}
	return list
}
