package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/stile-dev/stile/integration/soak/rule"
	"github.com/stile-dev/stile/integration/stand"
)

// taken is somebody whose credential is good no more, and goes on trying it.
type taken struct {
	person *stand.Person
	name   string
	at     time.Time
	rule   rule.Name
}

// mostTaken is how many of them are remembered; the oldest go first.
const mostTaken = 6

// remember keeps one for later attempts.
func (r *run) remember(t taken) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.taken = append(r.taken, t)
	if len(r.taken) > mostTaken {
		r.remove(r.taken[0].person)
		r.taken = r.taken[1:]
	}
}

// retry has everybody who is locked out try again. No trouble may let them in.
func (r *run) retry(ctx context.Context) {
	r.mu.Lock()
	list := append([]taken(nil), r.taken...)
	r.mu.Unlock()
	for _, t := range list {
		if ctx.Err() != nil {
			return
		}
		r.probe(ctx, t)
	}
}

// probe tries once.
func (r *run) probe(ctx context.Context, t taken) {
	o := r.stile(ctx, t.person, "", "ssh", node(), "--", "echo let in")
	if o.err != nil || ctx.Err() != nil {
		return
	}
	admitted := o.Status == 0 || strings.Contains(o.Out, "let in")
	tried, fault := rule.Admission(rule.Probe{Taken: t.at, Began: o.began, Bound: bound, Admitted: admitted})
	if tried {
		r.book.Judge(t.rule, o.ended, prefix(t.name+" was ", fault))
	}
}

// prefix puts words before a fault, if there is one.
func prefix(words, fault string) string {
	if fault == "" {
		return ""
	}
	return words + fault
}

// record is a user's record with these roles beside those of the mapping.
func record(name, roles string) string {
	return fmt.Sprintf("kind: user\nmetadata: {name: %s}\nspec: {mapping: engineers, roles: [%s]}\n", name, roles)
}

// write creates or replaces resources as the administrator.
func (r *run) write(ctx context.Context, yaml string) bool {
	o := r.stile(ctx, r.boss, yaml, "create", "--replace", "-f", "-")
	r.counts.writes.Add(1)
	return r.allowed(ctx, o)
}

// drop deletes a resource as the administrator.
func (r *run) drop(ctx context.Context, name string) bool {
	o := r.stile(ctx, r.boss, "", "rm", name)
	r.counts.writes.Add(1)
	return r.allowed(ctx, o)
}

// revoke lets vic in on two nodes, deletes their record, and holds that both sessions end in time, that the login is
// good no more, and that a new one is.
func (r *run) revoke(ctx context.Context) error {
	const user = "vic"
	p, err := r.newcomer("env." + user)
	if err != nil {
		return err
	}
	if !r.write(ctx, record(user, "access")) || !r.allowed(ctx, r.stile(ctx, p, "", "login", "--iam")) {
		return nil
	}
	r.counts.logins.Add(1)
	var open []*held
	for _, target := range []string{steadyNode, victimNode} {
		began := time.Now()
		h, err := r.hold(p, user, target)
		if err != nil {
			r.lost(ctx, began, err.Error())
			continue
		}
		r.counts.sessions.Add(1)
		open = append(open, h)
	}
	asked := time.Now()
	done := r.drop(ctx, "user/"+user)
	for _, h := range open {
		if done {
			r.cut(ctx, h, asked)
		}
		h.end(r)
	}
	if !done {
		return nil
	}
	r.counts.revocations.Add(1)
	t := taken{p, user, time.Now(), rule.LockedOut}
	r.probe(ctx, t)
	r.remember(t)
	again, err := r.newcomer("env." + user)
	if err != nil {
		return err
	}
	defer r.remove(again)
	if r.allowed(ctx, r.stile(ctx, again, "", "login", "--iam")) {
		r.allowed(ctx, r.stile(ctx, again, "", "ssh", node(), "--", "true"))
	}
	return nil
}

// cut waits for the end of a session whose user was revoked.
func (r *run) cut(ctx context.Context, h *held, asked time.Time) {
	timer := time.NewTimer(2 * bound)
	defer timer.Stop()
	select {
	case <-h.gone:
	case <-timer.C:
	case <-ctx.Done():
		return
	}
	took := time.Since(asked)
	r.counts.cuts.add(took)
	fault := rule.Within("the end of a session on "+h.session.Target, took, bound)
	if fault == "" && !strings.Contains(h.said(), "revoked") {
		fault = "a session that was cut doesn't say why: " + h.said()
	}
	r.book.Judge(rule.Prompt, time.Now(), fault)
}

// expire lets exa in for some seconds, and not any longer.
func (r *run) expire(ctx context.Context) error {
	p, err := r.newcomer("env.exa")
	if err != nil {
		return err
	}
	const ttl = 3 * time.Second
	o := r.stile(ctx, p, "", "login", "--iam", "--ttl", ttl.String())
	if !r.allowed(ctx, o) || !pause(ctx, ttl) {
		return nil
	}
	r.counts.logins.Add(1)
	t := taken{p, "exa", o.ended.Add(ttl), rule.Expired}
	r.probe(ctx, t)
	r.remember(t)
	return nil
}

// gate is a role that keeps its holder out of all nodes, or doesn't.
func gate(shut bool) string {
	deny := ""
	if shut {
		deny = "  deny: {node_labels: {env: demo}}\n"
	}
	return "kind: role\nmetadata: {name: gate}\nspec:\n  allow: {logins: [nobody-at-all], node_labels: {never: here}}\n" + deny
}

// change shuts the role of pia, opens it again, and holds that each is in force in time.
func (r *run) change(ctx context.Context) error {
	p, err := r.newcomer("env.pia")
	if err != nil {
		return err
	}
	defer r.remove(p)
	if !r.write(ctx, gate(false)+"---\n"+record("pia", "gate")) || !r.allowed(ctx, r.stile(ctx, p, "", "login", "--iam")) {
		return nil
	}
	r.counts.logins.Add(1)
	for _, shut := range []bool{true, false} {
		asked := time.Now()
		if !r.write(ctx, gate(shut)) {
			return nil
		}
		target := node()
		last := until(ctx, 2*bound, func() string {
			o := r.stile(ctx, p, "", "ssh", target, "--", "true")
			if shut == (o.err == nil && o.Status != 0 && rule.Denies(o.Err)) {
				return ""
			}
			return fmt.Sprintf("with the role shut: %v, pia got %d on %s: %s", shut, o.Status, target, strings.TrimSpace(o.Err))
		})
		if ctx.Err() != nil {
			return nil
		}
		took := time.Since(asked)
		r.counts.changes.add(took)
		if last == "" {
			last = rule.Within("a changed role", took, bound)
		}
		r.book.Judge(rule.InForce, time.Now(), last)
	}
	return nil
}

// shuffle writes, reads and deletes a resource of each kind that people write.
func (r *run) shuffle(ctx context.Context, n int) error {
	name := fmt.Sprintf("soak-%d", n)
	for _, one := range []struct{ kind, spec string }{
		{"role", "allow: {logins: [x], node_labels: {a: b}}"},
		{"token", "method: iam\n  allow: [{account: '111122223333', role: " + name + "}]\n  resources: [node]\n  names: ['" + name + "-*']"},
		{"iam_mapping", "match: {account: '111122223333', role: " + name + "}\n  user: " + name + "\n  roles: [access]\n  traits: {logins: [x]}"},
		{"user", "mapping: engineers\n  roles: [auditor]"},
	} {
		if !r.write(ctx, fmt.Sprintf("kind: %s\nmetadata: {name: %s}\nspec:\n  %s\n", one.kind, name, one.spec)) {
			continue
		}
		r.allowed(ctx, r.stile(ctx, r.boss, "", "get", one.kind+"/"+name))
		if !r.drop(ctx, one.kind+"/"+name) {
			continue
		}
		o := r.stile(ctx, r.boss, "", "get", one.kind+"/"+name)
		if ctx.Err() != nil || r.troubles.Explain(o.began, o.ended) {
			continue
		}
		fault := ""
		if o.Status != 5 {
			fault = fmt.Sprintf("%s/%s was deleted, and reading it ended with %d: %s", one.kind, name, o.Status, o.Err)
		}
		r.book.Judge(rule.Right, time.Now(), fault)
	}
	return nil
}
