package policy

import (
	"slices"
	"time"

	"github.com/stile-dev/stile/pkg/access"
	"github.com/stile-dev/stile/pkg/identity"
)

func legal(login string) bool { return identity.ValidLogin(login) }

// Options are what holds in a session, folded over the roles that allow it.
type Options struct {
	MaxSessionTTL     time.Duration // the shortest; 0 when no role says
	ForwardAgent      bool          // when every role permits it; a role that doesn't say forbids it
	PortForwarding    bool          // when no role forbids it
	RequireSessionMFA bool          // when any role demands it
	Record            string        // the strictest
	Fresh             bool          // when any role demands it
}

// Options folds over the subject's roles that allow this login on this node. It is the zero value, which
// permits nothing, when none does.
func (s *Set) Options(sub Subject, node Node, login string) Options {
	var o Options
	matched, labels := 0, view{labels: node.Labels}
	for _, name := range sub.Roles {
		r := s.roles[name]
		if r == nil || !access.Within(node.Scope, r.scope) || !r.allowsLogin(sub, &labels, login) {
			continue
		}
		if matched == 0 {
			o = Options{ForwardAgent: true, PortForwarding: true, Record: access.RecordOff}
		}
		matched++
		o.fold(r.options)
	}
	return o
}

// strictness orders recording modes; a role that doesn't say means best_effort.
var strictness = []string{access.RecordOff, access.RecordBestEffort, access.RecordStrict}

func (o *Options) fold(r access.RoleOptions) {
	if ttl := time.Duration(r.MaxSessionTTL); ttl > 0 && (o.MaxSessionTTL == 0 || ttl < o.MaxSessionTTL) {
		o.MaxSessionTTL = ttl
	}
	o.ForwardAgent = o.ForwardAgent && r.ForwardAgent != nil && *r.ForwardAgent
	o.PortForwarding = o.PortForwarding && (r.PortForwarding == nil || *r.PortForwarding)
	o.RequireSessionMFA = o.RequireSessionMFA || r.RequireSessionMFA
	o.Fresh = o.Fresh || r.Fresh
	mode := r.Record
	if mode == "" {
		mode = access.RecordBestEffort
	}
	if slices.Index(strictness, mode) > slices.Index(strictness, o.Record) {
		o.Record = mode
	}
}
