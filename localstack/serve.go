package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/stile-dev/stile/localstack/account"
	"github.com/stile-dev/stile/localstack/apigateway"
	"github.com/stile-dev/stile/localstack/cloud"
	"github.com/stile-dev/stile/localstack/ecs"
	"github.com/stile-dev/stile/localstack/iam"
	"github.com/stile-dev/stile/localstack/process"
)

// warm are the functions that logins and joins pass; they are started before the local AWS is ready.
var warm = []string{"functions/login", "functions/sign-user", "functions/join", "functions/sign-host", "functions/api", "functions/admin", "functions/publish"}

// balancerName names the load balancer's process.
const balancerName = "balancer"

// serve is the local AWS in the foreground, until ctx ends. What it started beyond functions outlives it.
func serve(ctx context.Context, p place, build string) error {
	if err := p.create(); err != nil {
		return err
	}
	log := slog.New(slog.NewJSONHandler(os.Stdout, nil))
	report := &reporter{path: filepath.Join(p.run(), "status.json"), status: status{PID: os.Getpid(), Build: build}}
	err := serveReported(ctx, p, report, log)
	if err != nil && ctx.Err() == nil {
		log.Error("The local AWS is stopping", "cause", err.Error())
		return errors.Join(err, report.set(func(s *status) { s.Ready, s.Error = false, err.Error() }))
	}
	return nil
}

func serveReported(ctx context.Context, p place, report *reporter, log *slog.Logger) error {
	phase := func(text string) {
		log.Info("Next step", "phase", text)
		if err := report.set(func(s *status) { s.Phase = text }); err != nil {
			log.Error("The status could not be written", "cause", err)
		}
	}
	phase("opening the stores")
	o, err := p.loadPorts(os.Getenv("STILE_PORTS") == "auto")
	if err != nil {
		return err
	}
	if err := o.save(); err != nil {
		return err
	}
	counts, err := p.loadScale()
	if err != nil {
		return err
	}
	a, err := p.loadAccount(o, counts)
	if err != nil {
		return err
	}
	config := p.cloud(o, a, log)
	if config.Settle, err = settle(os.Getenv("STILE_SETTLE")); err != nil {
		return err
	}
	if config.Late, err = late(os.Getenv("STILE_LATE")); err != nil {
		return err
	}
	s, err := cloud.Open(config)
	if err != nil {
		return err
	}
	d := &deployment{place: p, ports: o, scale: counts, account: a, cloud: s, log: log, phase: phase}
	d.stale = func() error { return report.set(func(s *status) { s.Build = "" }) }
	stop, err := d.listen()
	if err != nil {
		return errors.Join(err, s.Close())
	}
	err = d.bring(ctx)
	if err == nil {
		phase("ready")
		if err = report.set(func(s *status) { s.Ready = true }); err == nil {
			<-ctx.Done()
			phase("stopping")
		}
	}
	stop()
	return errors.Join(err, d.without(), s.Close())
}

// settle reads how long a role's new policies take to have effect.
func settle(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 || d > time.Minute {
		return 0, fmt.Errorf("STILE_SETTLE is %q: say how long a role's new policies take to have effect, such as 30s, or leave it out", text)
	}
	return d, nil
}

// late reads how many times faster than AWS the load balancer follows the tasks.
func late(text string) (int, error) {
	if text == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > 1000 {
		return 0, fmt.Errorf("STILE_LATE is %q: say how many times faster than AWS the load balancer follows its targets, 1 to 1000, or leave it out", text)
	}
	return n, nil
}

// cloud says where the services of this state directory find everything.
func (p place) cloud(o *ports, a *account.Account, log *slog.Logger) cloud.Config {
	return cloud.Config{
		Account: a.Account, Region: a.Region, Partition: a.Partition,
		Dir: p.aws(), BinDir: p.bin(), LogDir: p.log(), RunDir: p.run(), HomeDir: p.home(""),
		Balancer: p.balancer(), TrustFile: p.trust(), Endpoint: o.endpoint(), Port: o.task, Log: log,
	}
}

// variables are what account.yaml may refer to.
func (p place) variables(o *ports) map[string]string {
	return map[string]string{"USER": userName(), "STATE": p.state, "API": "https://" + loopback(o.API) + "/" + stage, "PROXY": loopback(o.Proxy)}
}

// listen opens the AWS endpoint and the public API.
func (d *deployment) listen() (stop func(), err error) {
	leaf, rootPEM, err := apigateway.Certificate(d.place.aws(), time.Now())
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(d.place.trust(), rootPEM, 0o644); err != nil {
		return nil, fmt.Errorf("writing the API's root: %w", err)
	}
	token, err := d.place.newToken()
	if err != nil {
		return nil, err
	}
	d.cloud.Gate.Mount(ecs.CredentialsPath, d.cloud.Roles)
	d.cloud.Gate.Mount(controlPath, &control{deployment: d, token: token})
	plain, err := net.Listen("tcp", loopback(d.ports.AWS))
	if err != nil {
		return nil, fmt.Errorf("opening the AWS endpoint: %w", err)
	}
	secure, err := tls.Listen("tcp", loopback(d.ports.API), &tls.Config{Certificates: []tls.Certificate{leaf}, NextProtos: []string{"h2", "http/1.1"}, MinVersion: tls.VersionTLS12})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening the API: %w", err), plain.Close())
	}
	errorLog := slog.NewLogLogger(d.log.Handler(), slog.LevelDebug)
	servers := []*http.Server{
		{Handler: d.cloud.Gate, ReadHeaderTimeout: 10 * time.Second, ErrorLog: errorLog},
		{Handler: d.cloud.API, ReadHeaderTimeout: 10 * time.Second, ErrorLog: errorLog},
	}
	go func() { _ = servers[0].Serve(plain) }()
	go func() { _ = servers[1].Serve(secure) }()
	return func() {
		for _, server := range servers {
			_ = server.Close()
		}
	}, nil
}

// bring deploys the stacks and starts everything.
func (d *deployment) bring(ctx context.Context) error {
	before := process.List(d.place.run())
	if err := d.person(d.account.Admin()); err != nil { // whom StileControl is told about
		return err
	}
	if err := d.run(ctx); err != nil {
		return err
	}
	if err := d.people(); err != nil {
		return err
	}
	d.phase("warming the functions")
	if err := d.warm(ctx); err != nil {
		return err
	}
	d.phase("starting the proxies")
	if err := d.fleet(ctx, before); err != nil {
		return err
	}
	ranBefore := func(name string) bool { _, known := process.Load(d.place.run(), name); return known }
	if err := d.agents(ctx, ranBefore); err != nil { // adopted or restarted
		return err
	}
	return d.dismiss(ctx)
}

// people makes the roles of people and agents that no stack has made.
func (d *deployment) people() error {
	for _, person := range d.account.People {
		if err := d.person(person); err != nil {
			return err
		}
	}
	made := map[string]bool{}
	for _, agent := range d.account.Agents {
		arn := d.roleOf(agent)
		if made[arn] {
			continue
		}
		made[arn] = true
		if err := d.putRole(agent.Name, iam.Role{Account: agent.Account, Name: agent.Role, Trust: json.RawMessage(trustOf(agent.Service))}); err != nil {
			return err
		}
	}
	return nil
}

func (d *deployment) person(person account.Person) error {
	return d.putRole(person.Session, iam.Role{Name: person.Role, Path: person.Path, Trust: json.RawMessage(trustOf("sso.amazonaws.com")), MaxSession: 12 * time.Hour})
}

// putRole makes somebody's role. One with policies is a stack's, and stays as it is.
func (d *deployment) putRole(whose string, role iam.Role) error {
	if made, err := d.cloud.Authority.Role(role.Name); role.Account == "" && err == nil && len(made.Inline) > 0 {
		return nil
	}
	if _, err := d.cloud.Authority.PutRole(role); err != nil {
		return fmt.Errorf("making the role of %s: %w", whose, err)
	}
	return nil
}

// warm starts an instance of each function of the list that the templates declare, side by side.
func (d *deployment) warm(ctx context.Context) error {
	var names []string
	for binary, name := range d.cloud.Lambda.Functions() {
		if slices.Contains(warm, binary) {
			names = append(names, name)
		}
	}
	return together(names, func(name string) error { return d.cloud.Lambda.Warm(ctx, name) })
}

// together does something for each of a list, in parallel.
func together[T any](list []T, do func(T) error) error {
	faults := make([]error, len(list))
	var group sync.WaitGroup
	for i, one := range list {
		group.Go(func() { faults[i] = do(one) })
	}
	group.Wait()
	return errors.Join(faults...)
}

// fleet starts the load balancer and waits until a proxy can be reached through it. Before is what ran already.
func (d *deployment) fleet(ctx context.Context, before []process.Record) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding this program: %w", err)
	}
	if err := d.cloud.Supervisor.Ensure(ctx, process.Spec{
		Name: balancerName, Path: self, Args: []string{"balance", "-config", d.place.balancer()}, Env: []string{"TZ=UTC"},
		Log: d.place.logOf(balancerName), StopTimeout: 2 * time.Second,
	}); err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if err := d.cloud.ECS.Ready(limited); err != nil {
		return errors.Join(fmt.Errorf("the proxy does not listen: %w; its log is below %s", err, d.place.log()), d.draining(ctx, before))
	}
	if err := ecs.Reachable(limited, loopback(d.ports.Proxy)); err != nil {
		return fmt.Errorf("the load balancer does not listen: %w; see %s", err, d.place.logOf(balancerName))
	}
	return nil
}

// draining says which tasks of before still run, but listen no more, and what to do. Such a task was told to end, and waits
// for its sessions; until it has gone, none takes its place.
func (d *deployment) draining(ctx context.Context, before []process.Record) error {
	var faults []error
	for _, r := range before {
		port, task := d.ports.Tasks[r.Name]
		if !task || !r.Alive() {
			continue
		}
		if c, err := new(net.Dialer).DialContext(ctx, "tcp", loopback(port)); err == nil {
			_ = c.Close()
			continue
		}
		faults = append(faults, fmt.Errorf("%s of an earlier make up (process %d) still runs, but listens no more: it is ending and waits for its sessions, for %s at most; "+
			"run make up again once it has ended, or end it with its sessions now: kill -9 %d && make up", r.Name, r.PID, r.StopTimeout, r.PID))
	}
	return errors.Join(faults...)
}

// status is what serve tells up, in run/status.json.
type status struct {
	PID   int    `json:"pid"`
	Build string `json:"build"`
	Phase string `json:"phase"`
	Ready bool   `json:"ready"`
	Error string `json:"error,omitempty"`
}

// reporter keeps the status file.
type reporter struct {
	path string
	mu   sync.Mutex
	status
}

func (r *reporter) set(change func(*status)) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(&r.status)
	raw, err := json.Marshal(r.status)
	if err == nil {
		err = os.WriteFile(r.path+".new", raw, 0o600)
	}
	if err == nil {
		err = os.Rename(r.path+".new", r.path)
	}
	if err != nil {
		return fmt.Errorf("writing the status: %w", err)
	}
	return nil
}
