package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/term"

	"github.com/stile-dev/stile/localstack/account"
	"github.com/stile-dev/stile/localstack/process"
)

// serveName names the local AWS's own process.
const serveName = "localstack"

// How long up waits for the parts that have no limit of their own.
const (
	deployLimit = 4 * time.Minute
	agentLimit  = 60 * time.Second
)

// up returns once everything is running: the local AWS, the proxies, the stock resources and the agents, as
// many as are asked for.
func up(ctx context.Context, p place, asked scale, out io.Writer) error {
	if err := p.create(); err != nil {
		return err
	}
	unlock, err := p.lock()
	if err != nil {
		return err
	}
	defer unlock()
	u, err := newUp(p, asked)
	if err != nil {
		return err
	}
	defer u.clear()
	fresh, err := u.serve(ctx)
	if err != nil {
		return err
	}
	if err := u.control(ctx, "people"); err != nil {
		return err
	}
	if !fresh && u.healthy(ctx) {
		u.clear()
		return u.summary(out, "already up")
	}
	if err := u.resources(ctx); err != nil {
		return err
	}
	if err := u.agents(ctx); err != nil {
		return err
	}
	u.clear()
	return u.summary(out, "up")
}

// upping is one run of up.
type upping struct {
	place   place
	ports   *ports
	scale   scale
	account *account.Account
	build   string
	tty     bool
}

func newUp(p place, asked scale) (*upping, error) {
	before, err := p.loadScale()
	if err != nil {
		return nil, err
	}
	counts := asked.or(before)
	build, err := p.build(counts)
	if err != nil {
		return nil, err
	}
	o, err := p.loadPorts(os.Getenv("STILE_PORTS") == "auto")
	if err != nil {
		return nil, err
	}
	a, err := p.loadAccount(o, counts)
	if err != nil {
		return nil, err
	}
	u := &upping{place: p, ports: o, scale: counts, account: a, build: build, tty: term.IsTerminal(int(os.Stderr.Fd()))}
	return u, p.saveScale(counts)
}

// lock keeps two ups and downs of one state directory apart.
func (p place) lock() (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(p.run(), "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking the state directory: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("another make up or make down is working on %s; wait for it", p.state)
	}
	return func() { _ = f.Close() }, nil
}

// serve makes sure that the local AWS of this build is running and ready; fresh says that it was started now.
func (u *upping) serve(ctx context.Context) (fresh bool, err error) {
	record, known := process.Load(u.place.run(), serveName)
	alive := known && record.Alive()
	if alive {
		if s := u.place.status(); s.PID == record.PID && s.Build == u.build && s.Error == "" {
			return false, u.ready(ctx, record)
		}
		u.tell("stopping a local AWS that is of another build or has other counts")
		if err := record.Stop(ctx); err != nil {
			return false, err
		}
	}
	if err := u.checkPorts(); err != nil {
		return false, err
	}
	if err := u.ports.save(); err != nil {
		return false, err
	}
	self, err := os.Executable()
	if err != nil {
		return false, fmt.Errorf("finding this program: %w", err)
	}
	record, wait, err := process.Start(process.Spec{
		Name: serveName, Path: self, Args: []string{"serve", "-root", u.place.root, "-state", u.place.state, "-build", u.build},
		Env: os.Environ(), Dir: u.place.root, Log: u.place.logOf(serveName), StopTimeout: 10 * time.Second,
	}, u.place.run())
	if err != nil {
		return false, err
	}
	go func() { _ = wait() }()
	return true, u.ready(ctx, record)
}

func (u *upping) checkPorts() error {
	wanted := []int{u.ports.AWS, u.ports.API}
	if balancer, ok := process.Load(u.place.run(), balancerName); !ok || !balancer.Alive() {
		wanted = append(wanted, u.ports.Proxy)
	}
	return u.ports.check(wanted...)
}

func (p place) status() (s status) {
	raw, err := os.ReadFile(filepath.Join(p.run(), "status.json"))
	if err != nil || json.Unmarshal(raw, &s) != nil {
		return status{}
	}
	return s
}

// ready waits until the local AWS says that it is, and shows what it does in the meantime.
func (u *upping) ready(ctx context.Context, record process.Record) error {
	err := poll(ctx, deployLimit, func() (bool, error) {
		s := u.place.status()
		switch {
		case s.PID == record.PID && s.Error != "":
			return false, fmt.Errorf("%s: %s", s.Phase, s.Error)
		case !record.Alive():
			return false, errors.New("the local AWS has ended")
		case s.PID == record.PID && s.Ready:
			return true, nil
		}
		if s.PID == record.PID {
			u.tell(s.Phase)
		}
		return false, nil
	})
	if err != nil {
		return u.failed(err, serveName)
	}
	return nil
}

// poll asks until it hears yes or an error, or the limit passes.
func poll(ctx context.Context, limit time.Duration, ask func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if done, err := ask(); done || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("gave up waiting: %w", ctx.Err())
		case <-tick.C:
		}
	}
}

// failed adds the end of a log to an error.
func (u *upping) failed(err error, name string) error {
	u.clear()
	path := u.place.logOf(name)
	lines := tail(path, 8)
	if len(lines) == 0 {
		return err
	}
	return fmt.Errorf("%w\nThe end of %s:\n  %s\nFix what it names and run make up again; everything that was created is kept", err, path, strings.Join(lines, "\n  "))
}

// tail is the last lines of a log, without the AWS calls that went well.
func tail(path string, n int) []string {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	var lines []string
	for line := range strings.Lines(string(raw)) {
		if strings.Contains(line, `"msg":"AWS call"`) && strings.Contains(line, `"error_code":""`) {
			continue
		}
		line = strings.TrimRight(line, "\n")
		lines = append(lines, line[:min(len(line), 400)])
	}
	return lines[max(0, len(lines)-n):]
}

// control asks the local AWS for something.
func (u *upping) control(ctx context.Context, what string) error {
	_, err := u.ask(ctx, what, 30*time.Second)
	return err
}

// ask asks the local AWS for something, and returns what it says.
func (u *upping) ask(ctx context.Context, what string, limit time.Duration) (string, error) {
	token, err := os.ReadFile(filepath.Join(u.place.run(), "control.token"))
	if err != nil {
		return "", fmt.Errorf("asking the local AWS: %w; run make up first", err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, u.ports.endpoint()+controlPath+what, nil)
	if err != nil {
		return "", fmt.Errorf("asking the local AWS: %w", err)
	}
	request.Header.Set("Authorization", "Bearer "+string(token))
	client := http.Client{Timeout: limit, Transport: &http.Transport{Proxy: nil}}
	response, err := client.Do(request)
	if err != nil {
		return "", u.failed(fmt.Errorf("asking the local AWS: %w", err), serveName)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(response.Body, 1<<16))
	if err != nil {
		return "", fmt.Errorf("asking the local AWS for %s: %w", what, err)
	}
	if response.StatusCode != http.StatusOK {
		return "", u.failed(fmt.Errorf("asking the local AWS for %s: %s", what, strings.TrimSpace(string(text))), serveName)
	}
	return string(text), nil
}

// healthy reports whether everything that this up would start is already running.
func (u *upping) healthy(ctx context.Context) bool {
	for _, record := range process.List(u.place.run()) {
		if !record.Alive() {
			return false
		}
	}
	for _, agent := range u.account.Agents {
		if !u.connected(ctx, agent) {
			return false
		}
	}
	return true
}

// stile runs the product's command line as the administrator.
func (u *upping) stile(ctx context.Context, args ...string) (exit int, output string, err error) {
	admin := u.account.Admin()
	return u.stileAs(ctx, admin, u.place.home(admin.Home), args...)
}

// stileAs runs the product's command line with a person's identity and a STILE_HOME.
func (u *upping) stileAs(ctx context.Context, person account.Person, home string, args ...string) (exit int, output string, err error) {
	command := `. "$1"; export STILE_HOME="$2"; shift 2; exec stile "$@"`
	env := filepath.Join(u.place.state, person.Env)
	cmd := exec.CommandContext(ctx, "/bin/sh", append([]string{"-c", command, "sh", env, home}, args...)...)
	raw, err := cmd.CombinedOutput()
	if exited, ok := errors.AsType[*exec.ExitError](err); ok {
		return exited.ExitCode(), string(raw), nil
	}
	return 0, string(raw), err
}

// The exit codes of the product's command line that matter here.
const (
	exitNotFound = 5
	exitConflict = 7
)

// resources creates what account.yaml lists and does not exist yet, through the product.
func (u *upping) resources(ctx context.Context) error {
	u.tell("logging in as the administrator")
	if err := u.must(ctx, nil, "login", "--iam"); err != nil {
		return err
	}
	for _, r := range u.account.Resources {
		u.tell("creating " + r.Kind + " " + r.Name())
		exit, output, err := u.stile(ctx, "get", r.Kind+"/"+r.Name())
		if err == nil && exit == 0 {
			continue
		}
		if err != nil || exit != exitNotFound {
			return u.failed(&commandError{[]string{"get", r.Kind + "/" + r.Name()}, exit, output, err}, serveName)
		}
		text, err := r.YAML()
		if err != nil {
			return fmt.Errorf("writing %s %s: %w", r.Kind, r.Name(), err)
		}
		path := filepath.Join(u.place.run(), r.Kind+"-"+r.Name()+".yaml")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			return fmt.Errorf("writing %s %s: %w", r.Kind, r.Name(), err)
		}
		if err := u.must(ctx, []int{exitConflict}, "create", "-f", path); err != nil {
			return err
		}
	}
	return nil
}

// must runs the product's command line and takes exit 0 and the codes in fine.
func (u *upping) must(ctx context.Context, fine []int, args ...string) error {
	exit, output, err := u.stile(ctx, args...)
	if err != nil || exit != 0 && !slices.Contains(fine, exit) {
		return u.failed(&commandError{args, exit, output, err}, serveName)
	}
	return nil
}

// commandError is a run of the product's command line that went wrong.
type commandError struct {
	args   []string
	exit   int
	output string
	cause  error // that it could not be run at all
}

func (e *commandError) Error() string {
	if e.cause != nil {
		return fmt.Sprintf("running stile %s: %v", strings.Join(e.args, " "), e.cause)
	}
	return fmt.Sprintf("stile %s ended with %d:\n%s", strings.Join(e.args, " "), e.exit, strings.TrimSpace(e.output))
}

// agents starts every agent, and waits until each has a tunnel.
func (u *upping) agents(ctx context.Context) error {
	u.tell("starting the agents")
	if err := u.control(ctx, "agents"); err != nil {
		return err
	}
	for _, agent := range u.account.Agents {
		u.tell("waiting for " + agent.Name)
		err := poll(ctx, agentLimit, func() (bool, error) { return u.connected(ctx, agent), nil })
		if err != nil {
			return u.failed(fmt.Errorf("%s has no tunnel: %w", agent.Name, err), agent.Name)
		}
	}
	u.tell("waiting until the nodes are listed as online")
	return u.listed(ctx)
}

// listed waits until the first person of account.yaml sees every agent online: an agent knows of its tunnel
// a moment before the inventory does. The login for it has its own home directory and leaves nobody logged in.
func (u *upping) listed(ctx context.Context) error {
	home := filepath.Join(u.place.run(), "probe")
	defer func() { _ = os.RemoveAll(home) }()
	person := u.account.People[0]
	if exit, output, err := u.stileAs(ctx, person, home, "login", "--iam"); err != nil || exit != 0 {
		return u.failed(&commandError{[]string{"login", "--iam"}, exit, output, err}, serveName)
	}
	list := []string{"ls", "--format", "json"}
	var missing []string
	err := poll(ctx, agentLimit, func() (bool, error) {
		exit, output, err := u.stileAs(ctx, person, home, list...)
		var nodes []struct {
			Name   string `json:"name"`
			Online bool   `json:"online"`
		}
		if err != nil || exit != 0 || json.Unmarshal([]byte(output), &nodes) != nil {
			return false, u.failed(&commandError{list, exit, output, err}, serveName)
		}
		online := map[string]bool{}
		for _, n := range nodes {
			online[n.Name] = n.Online
		}
		missing = slices.DeleteFunc(u.names(), func(name string) bool { return online[name] })
		return len(missing) == 0, nil
	})
	if len(missing) > 0 && errors.Is(err, context.DeadlineExceeded) {
		return u.failed(fmt.Errorf("%s not listed as online: %w", strings.Join(missing, " "), err), missing[0])
	}
	return err
}

// connected asks an agent whether it has a tunnel.
func (u *upping) connected(ctx context.Context, agent account.Agent) bool {
	state, _ := agent.Config["state"].(string)
	cmd := exec.CommandContext(ctx, filepath.Join(u.place.bin(), "stile-agent"), "status", "--state", state)
	return cmd.Run() == nil
}

// summary says what runs where, and ends with what to type next.
func (u *upping) summary(out io.Writer, word string) error {
	_, err := fmt.Fprintf(out, `stile is %s
  AWS    %s (%s, account %s)
  API    https://%s/%s
  proxy  %s%s
  nodes  %s
  state  %s (logs in log/)
. %s && stile login --iam && stile ls && stile ssh %s
`, word, u.ports.endpoint(), u.account.Region, u.account.Account, loopback(u.ports.API), stage, loopback(u.ports.Proxy), u.behind(), u.nodes(),
		u.place.state, u.place.short(u.account.People[0].Env), u.account.Agents[0].Name)
	return err
}

// behind returns how many proxies share the public address, in words; nothing if there is only one.
func (u *upping) behind() string {
	if u.scale.Proxies == 1 {
		return ""
	}
	return fmt.Sprintf(" (%d behind it)", u.scale.Proxies)
}

// fewNodes is how many names fit on a line.
const fewNodes = 8

// names returns the names of all agents, which are those of their nodes.
func (u *upping) names() (names []string) {
	for _, agent := range u.account.Agents {
		names = append(names, agent.Name)
	}
	return names
}

// nodes returns them in one line, shortened if they are many.
func (u *upping) nodes() string {
	names := u.names()
	if n := len(names); n > fewNodes {
		return fmt.Sprintf("%s … %s (%d)", names[0], names[n-1], n)
	}
	return strings.Join(names, " ")
}

// short returns a path in the state directory as somebody in the current directory would type it.
func (p place) short(name string) string {
	path := filepath.Join(p.state, name)
	cwd, err := os.Getwd()
	if err != nil {
		return path
	}
	if rel, err := filepath.Rel(cwd, path); err == nil && filepath.IsLocal(rel) {
		if !strings.Contains(rel, "/") {
			return "./" + rel
		}
		return rel
	}
	return path
}

// tell shows progress on a terminal, in one line that is overwritten.
func (u *upping) tell(text string) {
	if u.tty {
		fmt.Fprintf(os.Stderr, "\r\x1b[K… %s", text)
	}
}

func (u *upping) clear() {
	if u.tty {
		fmt.Fprint(os.Stderr, "\r\x1b[K")
	}
}
