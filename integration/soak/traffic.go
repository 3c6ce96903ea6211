package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	mathrand "math/rand/v2"
	"regexp"
	"strings"
	"time"

	"github.com/stile-dev/stile/integration/soak/rule"
	"github.com/stile-dev/stile/integration/stand"
)

// breath is how long a worker rests between two things on average.
const breath = 250 * time.Millisecond

// worker is somebody who works: logs in with a short certificate and renews it, runs commands, copies, looks around.
type worker struct {
	*run
	name    string
	person  *stand.Person
	expires time.Time // when they log in again, some time before the certificate ends
}

// work goes on until the context ends.
func (w *worker) work(ctx context.Context) error {
	person, err := w.newcomer("env." + w.name)
	if err != nil {
		return err
	}
	w.person = person
	deeds := []func(context.Context){w.command, w.command, w.status, w.terminal, w.copyThere, w.copyBack, w.foreign, w.list, w.look}
	for i := mathrand.IntN(len(deeds)); pause(ctx, time.Duration(mathrand.Int64N(int64(2*breath)))); i++ {
		w.traffic.RLock()
		if w.renew(ctx) {
			deeds[i%len(deeds)](ctx)
		}
		w.traffic.RUnlock()
	}
	return nil
}

// renew logs in when the certificate nears its end. It reports whether there is a good one.
func (w *worker) renew(ctx context.Context) bool {
	if time.Now().Before(w.expires) {
		return true
	}
	ttl := 70*time.Second + time.Duration(mathrand.Int64N(int64(time.Minute)))
	began := time.Now()
	o := w.stile(ctx, w.person, "", "login", "--iam", "--ttl", ttl.Round(time.Second).String())
	if !w.allowed(ctx, o) {
		return false
	}
	w.counts.logins.Add(1)
	if err := equip(w.person); err != nil {
		w.book.Broken(rule.Right, time.Now(), "equipping OpenSSH: %v", err)
		return false
	}
	w.expires = began.Add(ttl - patience) // no command outlives the certificate
	return true
}

// node picks one.
func node() string { return nodes[mathrand.IntN(len(nodes))] }

// ssh runs a command on some node, whose first line of standard error is to be the session's id, and judges it. It
// returns what the command printed; ok is false if it did not succeed.
func (w *worker) ssh(ctx context.Context, in []byte, want int, command string) (out, errs string, ok bool) {
	target := node()
	o := w.stileFrom(ctx, w.person, bytes.NewReader(in), "ssh", target, "--", `echo "$STILE_SESSION_ID" >&2; `+command)
	o.what = fmt.Sprintf("stile ssh %s -- %s", target, strings.Fields(command)[0])
	id, rest := session(o.Err)
	if id != "" {
		w.sessions.ended(rule.Session{ID: id, User: w.name, Target: target, From: o.began, To: o.ended})
	}
	if o.Status == want {
		o.Status = 0
	}
	if !w.allowed(ctx, o) {
		return "", "", false
	}
	w.counts.sessions.Add(1)
	return o.Out, rest, true
}

// session finds the line with a session's id in what a command said, and returns what follows it. What stands before
// is a login shell's own.
func session(said string) (id, rest string) {
	m := idLine.FindStringSubmatchIndex(said)
	if m == nil {
		return "", said
	}
	return said[m[2]:m[3]], said[m[1]:]
}

var idLine = regexp.MustCompile(`(?m)^(ses_[0-9a-z]{26})\r?\n`)

// right judges an answer.
func (w *worker) right(what, got, want string) {
	fault := ""
	if got != want {
		fault = fmt.Sprintf("%s gave %.80q, not %.80q", what, got, want)
	}
	w.book.Judge(rule.Right, time.Now(), fault)
}

func (w *worker) command(ctx context.Context) {
	word := rand.Text()
	if out, errs, ok := w.ssh(ctx, nil, 0, "echo "+word+"; echo "+word+" >&2"); ok {
		w.right("echo", out+errs, word+"\n"+word+"\n")
	}
}

func (w *worker) status(ctx context.Context) {
	if out, _, ok := w.ssh(ctx, nil, 42, "exit 42"); ok {
		w.right("exit", out, "")
	}
}

// terminal runs a command in one. What it prints comes as one stream then.
func (w *worker) terminal(ctx context.Context) {
	target := node()
	o := w.stile(ctx, w.person, "", "ssh", "-tt", target, "--", `echo "$STILE_SESSION_ID"; stty size; test -t 0 && echo terminal`)
	o.what = "stile ssh -tt " + target
	id, rest := session(o.Out)
	if id != "" {
		w.sessions.ended(rule.Session{ID: id, User: w.name, Target: target, From: o.began, To: o.ended})
	}
	if w.allowed(ctx, o) {
		w.counts.sessions.Add(1)
		w.right("a terminal", strings.Join(strings.Fields(rest), " "), "24 80 terminal")
	}
}

// some returns random bytes, some MiB, and their digest in hex.
func some() (load []byte, digest string) {
	load = make([]byte, 1<<20+mathrand.IntN(3<<20))
	_, _ = rand.Read(load)
	sum := sha256.Sum256(load)
	return load, hex.EncodeToString(sum[:])
}

func (w *worker) copyThere(ctx context.Context) {
	load, digest := some()
	if out, _, ok := w.ssh(ctx, load, 0, "sha256sum"); ok {
		w.right("a copy to the node", out, digest+"  -\n")
		w.counts.bytes.Add(int64(len(load)))
	}
}

func (w *worker) copyBack(ctx context.Context) {
	load, digest := some()
	if out, _, ok := w.ssh(ctx, load, 0, "cat"); ok {
		sum := sha256.Sum256([]byte(out))
		w.right("a copy from the node", hex.EncodeToString(sum[:]), digest)
		w.counts.bytes.Add(2 * int64(len(load)))
	}
}

// list has all nodes in it, and in calm times all are online.
func (w *worker) list(ctx context.Context) {
	o := w.stile(ctx, w.person, "", "ls", "--format", "json")
	if !w.allowed(ctx, o) {
		return
	}
	w.counts.lists.Add(1)
	missing := offline(o.Out)
	if missing != "" && w.troubles.Explain(o.began, o.ended) {
		w.book.Excused(rule.Right)
		return
	}
	w.right("stile ls", missing, "")
}

// offline returns which of the nodes a list doesn't show as online.
func offline(list string) string {
	var shown []struct {
		Name   string
		Online bool
	}
	if err := json.Unmarshal([]byte(list), &shown); err != nil {
		return err.Error()
	}
	online := map[string]bool{}
	for _, n := range shown {
		online[n.Name] = n.Online
	}
	for _, name := range nodes {
		if !online[name] {
			return name + " is not online"
		}
	}
	return ""
}

func (w *worker) look(ctx context.Context) {
	o := w.stile(ctx, w.person, "", "status")
	if w.allowed(ctx, o) && !strings.Contains(o.Out, w.name) {
		w.right("stile status", o.Out, w.name)
	}
}
