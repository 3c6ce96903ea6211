package main

import (
	"bytes"
	"context"
	"crypto"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/stile-dev/stile/pkg/client"
	"github.com/stile-dev/stile/pkg/fault"
)

// exempt makes the administrator somebody who reaches nodes and isn't recorded.
const exempt = `kind: role
metadata: {name: exempt}
spec:
  options: {record: "off"}
  allow: {logins: ["{{internal.logins}}"], node_labels: {"*": "*"}}
---
kind: user
metadata: {name: ada}
spec: {mapping: bootstrap, roles: [exempt], traits: {logins: [%q]}}
`

// recordings measures sessions that are recorded beside some that are not, in the columns of Stile and of the floor, and when
// a recording can be played.
func recordings(ctx context.Context, s *system, rounds int) ([]row, error) {
	off, err := s.exempted(ctx)
	if err != nil {
		return nil, err
	}
	on, err := s.way()
	if err != nil {
		return nil, err
	}
	api, err := s.engineer.API(client.Config{Key: s.user.TLS.PrivateKey.(crypto.Signer), Certificate: s.user.TLS.Certificate[0]})
	if err != nil {
		return nil, err
	}
	file := filepath.Join(s.State, "source")
	if err := source(s.Root, file); err != nil {
		return nil, err
	}
	const lines = `yes "Nov 27 12:00:00 node-1 sshd[4711]: a line of a log as there are many" | head -c %d`
	code := "while cat " + file + "; do :; done | head -c %d"
	var rows []row
	for _, c := range []struct {
		what, command string
		size          int // MiB
		budget        float64
	}{
		{"one line again and again", lines, volume, 0.95},
		{"source code", code, volume, 0.95},
		{"zeros", "head -c %d /dev/zero", volume, 0.95},
		{"random bytes", "head -c %d /dev/urandom", volume, 0.95},
		{"one line, a GiB", lines, 1024, 0.95},
		{"source code, a GiB", code, 1024, 0}, // more than waits to be sealed
	} {
		command := "echo $STILE_SESSION_ID >&2; " + fmt.Sprintf(c.command, c.size<<20)
		took, err := interleaved(rounds, []func() (float64, error){
			func() (float64, error) { return transferred(ctx, off, command, nil, io.Discard, float64(c.size)) },
			func() (float64, error) {
				var session bytes.Buffer
				rate, err := transferred(ctx, on, command, nil, &session, float64(c.size))
				if err == nil {
					_, err = complete(ctx, api, session.String()) // what comes next is measured alone
				}
				return rate, err
			},
		})
		if err != nil {
			return nil, err
		}
		rows = append(rows, row{what: "throughput down of " + c.what + ", unrecorded (floor) and recorded", unit: "MiB/s", floor: took[0], stile: took[1], budget: c.budget * took[0].median(), more: true})
	}
	echo, err := recordedEchoes(ctx, off, on, rounds)
	if err != nil {
		return nil, err
	}
	when, err := playable(ctx, api, on, 20*rounds)
	return append(rows, echo, when), err
}

// source writes the repository's code to a file: text that is like little else in it.
func source(root, file string) error {
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	defer out.Close()
	files := os.DirFS(root)
	return fs.WalkDir(files, ".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != "." && strings.HasPrefix(path, "."):
			return filepath.SkipDir
		case d.IsDir() || filepath.Ext(path) != ".go":
			return nil
		}
		b, err := fs.ReadFile(files, path)
		if err == nil {
			_, err = out.Write(b)
		}
		return err
	})
}

// exempted is the way of the administrator, whose sessions aren't recorded.
func (s *system) exempted(ctx context.Context) (*way, error) {
	file := filepath.Join(s.State, "exempt.yaml")
	if err := os.WriteFile(file, fmt.Appendf(nil, exempt, s.user.Login), 0o600); err != nil {
		return nil, err
	}
	if _, err := whole(s.admin.Command(ctx, "stile", "create", "--replace", "-f", file)); err != nil {
		return nil, err
	}
	other := &system{System: s.System, engineer: s.admin, admin: s.admin}
	for {
		_, err := whole(s.admin.Command(ctx, "stile", "login", "--iam"))
		if err == nil {
			_, err = whole(s.admin.Command(ctx, "stile", "ssh", node, "--", "true")) // the agent may not have the role yet
		}
		if err == nil {
			break
		}
		select {
		case <-time.After(500 * time.Millisecond):
		case <-ctx.Done():
			return nil, errors.Join(err, ctx.Err())
		}
	}
	var err error
	if other.user, err = s.admin.Credential(); err != nil {
		return nil, err
	}
	return other.way()
}

// recordedEchoes types into terminals of both.
func recordedEchoes(ctx context.Context, off, on *way, rounds int) (row, error) {
	var took [2]sample
	var all [2]*terminal
	for i, one := range []*way{off, on} {
		c, err := one.dial(ctx)
		if err != nil {
			return row{}, err
		}
		defer c.Close()
		if all[i], err = openTerminal(c, "stty -icanon; printf ready; exec cat >/dev/null", "ready"); err != nil {
			return row{}, err
		}
	}
	for range 20 * rounds {
		for i, t := range all {
			for range 50 {
				d, err := t.echo()
				if err != nil {
					return row{}, err
				}
				took[i] = append(took[i], ms(d))
			}
		}
	}
	return row{
		what: "echo p99, unrecorded (floor) and recorded", unit: "ms", floor: sample{took[0].quantile(0.99)}, stile: sample{took[1].quantile(0.99)},
		budget: took[0].quantile(0.99) + 0.3,
	}, nil
}

// playable measures from the end of a short session until its recording is complete.
func playable(ctx context.Context, api *client.Client, on *way, times int) (row, error) {
	c, err := on.dial(ctx)
	if err != nil {
		return row{}, err
	}
	defer c.Close()
	var took sample
	for range times {
		d, err := untilPlayable(ctx, c, api)
		if err != nil {
			return row{}, err
		}
		took = append(took, ms(d))
	}
	return row{what: "from the end of a session until it can be played, p99", unit: "ms", stile: sample{took.quantile(0.99)}, budget: 3000}, nil
}

func untilPlayable(ctx context.Context, c *ssh.Client, api *client.Client) (time.Duration, error) {
	session, err := c.NewSession()
	if err != nil {
		return 0, err
	}
	defer session.Close()
	out, err := session.Output(`echo "$STILE_SESSION_ID"`)
	if err != nil {
		return 0, err
	}
	return complete(ctx, api, string(out))
}

// complete waits until the recording of a session can be played whole, and says how long that took.
func complete(ctx context.Context, api *client.Client, session string) (time.Duration, error) {
	began := time.Now()
	for {
		r, err := api.GetRecording(ctx, strings.TrimSpace(session))
		switch {
		case err == nil && r.State == "complete":
			return time.Since(began), nil
		case err != nil && !fault.Is(err, fault.NotFound):
			return 0, err
		case time.Since(began) > time.Minute:
			return 0, fmt.Errorf("the recording of %s is not complete after a minute", session)
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}
