package cgroup

import (
	"syscall"
	"time"
)

// Stat is what a stat file says.
type Stat struct {
	PID, Parent, Group, Session, Threads int
	State                                byte
	Start                                uint64
	Alive                                bool
}

// ParseStat is parseStat.
func ParseStat(file []byte) (Stat, error) {
	p, err := parseStat(file)
	return Stat{p.pid, p.parent, p.group, p.session, p.threads, p.state, p.start, p.alive()}, err
}

// Look is what the process with a number is now.
func Look(pid int) (Stat, error) {
	p, err := look(pid)
	return Stat{p.pid, p.parent, p.group, p.session, p.threads, p.state, p.start, p.alive()}, err
}

// Send signals the process that had this number and start.
func Send(pid int, start uint64, signal syscall.Signal) error {
	return send(process{pid: pid, start: start}, signal)
}

// Mount is one that parseMounts found.
type Mount struct {
	Point, Root string
	Writable    bool
}

// ParseMounts is parseMounts.
func ParseMounts(mountinfo []byte) []Mount {
	var out []Mount
	for _, m := range parseMounts(mountinfo) {
		out = append(out, Mount{m.point, m.root, m.writable})
	}
	return out
}

// Where to look, and in what.
var (
	OwnPath = ownPath
	Places  = places
	Holds   = holds
)

// Age has the last sweep be longer ago.
func (t *Tree) Age(by time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.swept = t.swept.Add(-by)
}

// Dir is where the group is mounted.
func (g *Group) Dir() string { return g.dir }

// Forget has the kernel be one without cgroup.kill.
func (g *Group) Forget() { g.switched = "cgroup.absent" }

// Reuse has the leader's number be one that was given to another process since.
func (k *Kin) Reuse() { k.leader.start-- }

// Owned reads a /proc/PID/status.
var Owned = owned
