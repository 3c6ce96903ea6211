package identity

import (
	"regexp"
	"strings"

	"github.com/stile-dev/stile/pkg/fault"
)

// Target is what a session reaches: a node, a database, an application. Kind and name together identify it; a
// node and a database with the same name are two things.
type Target struct {
	Kind string // node, db, …: package resource has the table
	Name string
}

// String writes a target as people and certificates do: kind/name.
func (t Target) String() string { return t.Kind + "/" + t.Name }

// ParseTarget reads kind/name. Errors are [fault.BadInput].
func ParseTarget(s string) (Target, error) {
	kind, name, both := strings.Cut(s, "/")
	t := Target{Kind: kind, Name: name}
	if !both || !ValidTargetKind(kind) || !ValidTargetName(name) {
		return Target{}, fault.Newf(fault.BadInput, "write kind/name, such as node/web-1: lower-case letters, digits, dots and hyphens", "%.140q is not a target", s)
	}
	return t, nil
}

// MarshalText writes kind/name.
func (t Target) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText reads kind/name.
func (t *Target) UnmarshalText(b []byte) error {
	var err error
	*t, err = ParseTarget(string(b))
	return err
}

var (
	targetKind  = regexp.MustCompile(`^[a-z][a-z0-9]{0,31}$`)
	targetName  = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$`)
	clusterName = targetName
)

// ValidTargetKind reports whether a string may be a kind of targets: 1–32 lower-case letters and digits.
func ValidTargetKind(kind string) bool { return targetKind.MatchString(kind) }

// ValidTargetName reports whether a target may have this name: 1–63 of lower-case letters, digits, dots and
// hyphens, beginning and ending with a letter or digit.
func ValidTargetName(name string) bool { return targetName.MatchString(name) }

// ValidClusterName reports whether a cluster may be called this; the rule is that of target names.
func ValidClusterName(name string) bool { return clusterName.MatchString(name) }

// Serves reports whether the host's certificate allows it to serve a target. An agent's own id stands for it
// beside the names, as a target of each kind that it serves.
func (h Host) Serves(t Target) bool {
	for _, own := range h.Targets {
		if own == t || own.Kind == t.Kind && t.Name == h.ID {
			return true
		}
	}
	return false
}

// Named returns the target by its own name: an agent reached by its id goes by its first name of the kind.
func (h Host) Named(t Target) Target {
	if t.Name != h.ID {
		return t
	}
	for _, own := range h.Targets {
		if own.Kind == t.Kind {
			return own
		}
	}
	return t
}

// Principals lists who the SSH host certificate is for: the agent's id, and for each node its name alone and
// with the cluster's, as OpenSSH's known_hosts expects it.
func (h Host) Principals() []string {
	all := []string{h.ID}
	for _, t := range h.Targets {
		if t.Kind == nodeKind {
			all = append(all, t.Name, t.Name+"."+h.ClusterName)
		}
	}
	return all
}
