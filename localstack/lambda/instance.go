package lambda

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/stile-dev/stile/localstack/iam"
)

// instance is one process of a function with the runtime API that it talks to. Its run method owns it; the
// runtime API's handlers speak to run through the channels.
type instance struct {
	f       *function
	ready   chan<- error // may be nil
	expires time.Time    // of the credentials

	polls   chan chan *invocation // a handler of "next" sends the channel on which it waits
	answers chan answer           // what the process answered
	initErr chan Result           // the process could not initialise
	exited  chan struct{}         // closed when the process is gone; then exit is set
	exit    error
}

// answer is one posted response or error.
type answer struct {
	id     string
	result Result
	taken  chan bool // whether it was the request in progress
}

func newInstance(f *function, ready chan<- error) *instance {
	return &instance{f: f, ready: ready, polls: make(chan chan *invocation), answers: make(chan answer), initErr: make(chan Result, 1), exited: make(chan struct{})}
}

// run is an instance's whole life: start, initialise, serve requests, end.
func (i *instance) run() error {
	ctx, cancel := context.WithCancel(i.f.ctx)
	defer cancel()
	err := i.boot(ctx)
	var poll chan *invocation
	if err == nil {
		poll, err = i.initialise()
	}
	if i.ready != nil {
		i.ready <- err
	}
	if err != nil {
		var failed initFailure
		if !errors.As(err, &failed) {
			failed.Result = errorShape("Runtime.InitError", err.Error())
		}
		i.f.rejectOne(failed.Result) // before another instance is called for
		i.f.busy()
	} else {
		err = i.serve(poll)
	}
	cancel() // kills the process
	if i.expires.IsZero() {
		return err
	}
	<-i.exited
	if errors.Is(err, errRetired) {
		return nil
	}
	return err
}

// initFailure carries what a process posted about its failed initialisation.
type initFailure struct{ Result }

func (e initFailure) Error() string { return "initialising: " + string(e.Payload) }

// boot mints credentials, opens the runtime API and starts the process, which ctx kills.
func (i *instance) boot(ctx context.Context) error {
	credentials, err := i.f.host.session(i.f)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("opening the runtime API: %w", err)
	}
	server := &http.Server{Handler: i.runtimeAPI(), ReadHeaderTimeout: 10 * time.Second, BaseContext: func(net.Listener) context.Context { return ctx }, ErrorLog: slog.NewLogLogger(i.f.host.Log.Handler(), slog.LevelDebug)}
	go func() { _ = server.Serve(listener) }()
	cmd := exec.CommandContext(ctx, i.f.Path)
	cmd.Env = i.environment(credentials, listener.Addr().String())
	cmd.Dir = filepath.Dir(i.f.Path)
	// Its own process group, so that Ctrl-C in a terminal doesn't reach it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	log, err := openLog(i.f.host.logPath(i.f.Name))
	if err == nil {
		defer func() { _ = log.Close() }()
		cmd.Stdout, cmd.Stderr = log, log
		err = cmd.Start()
	}
	if err != nil {
		_ = server.Close()
		return fmt.Errorf("starting %s: %w", i.f.Path, err)
	}
	i.expires = credentials.Expires
	go func() {
		i.exit = cmd.Wait()
		_ = server.Close()
		close(i.exited)
	}()
	return nil
}

func openLog(path string) (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	return os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
}

// session asks the role's trust policy whether Lambda may act for it, then mints a session. It says neither aws:SourceArn nor
// aws:SourceAccount: AWS promises nowhere that Lambda does, so a trust that can't do without them fails here.
func (h *Host) session(f *function) (iam.Credentials, error) {
	if _, _, err := h.Authority.Assume(iam.AssumeRequest{
		Caller: iam.ServicePrincipal("lambda.amazonaws.com"), RoleARN: f.Role, Session: sessionName(f.Name), Duration: 15 * time.Minute,
	}); err != nil {
		return iam.Credentials{}, fmt.Errorf("the role of function %s cannot be assumed by Lambda: %w", f.Name, err)
	}
	credentials, err := h.Authority.Mint(f.Role, sessionName(f.Name), sessionLength)
	if err != nil {
		return iam.Credentials{}, fmt.Errorf("minting credentials for %s: %w", f.Name, err)
	}
	return credentials, nil
}

func sessionName(function string) string { return function[:min(len(function), 64)] }

// environment is everything that the process sees: AWS's own variables, the template's, nothing inherited.
// The proxies are a closed port, so that a client that forgets the endpoint fails here instead of
// leaving the machine.
func (i *instance) environment(c iam.Credentials, api string) []string {
	region := i.f.host.Authority.Region()
	env := map[string]string{
		"PATH": "/usr/local/bin:/usr/bin:/bin:/opt/bin", "TZ": ":UTC", "LANG": "en_US.UTF-8",
		"AWS_LAMBDA_RUNTIME_API": api, "AWS_LAMBDA_FUNCTION_NAME": i.f.Name, "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
		"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": fmt.Sprint(i.f.Memory), "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
		"AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/" + i.f.Name, "AWS_LAMBDA_LOG_STREAM_NAME": i.f.host.Now().UTC().Format("2006/01/02") + "/[$LATEST]" + requestID()[:8],
		"AWS_REGION": region, "AWS_DEFAULT_REGION": region, "AWS_ENDPOINT_URL": i.f.host.Endpoint,
		"AWS_ACCESS_KEY_ID": c.AccessKeyID, "AWS_SECRET_ACCESS_KEY": c.SecretAccessKey, "AWS_SESSION_TOKEN": c.SessionToken,
		"_HANDLER": i.f.Handler, "LAMBDA_TASK_ROOT": filepath.Dir(i.f.Path), "LAMBDA_RUNTIME_DIR": "/var/runtime",
	}
	if i.f.host.TrustFile != "" {
		env["SSL_CERT_FILE"] = i.f.host.TrustFile
	}
	maps.Copy(env, ClosedProxy())
	list := make([]string, 0, len(env)+len(i.f.Env))
	for name, value := range i.f.Env {
		if _, reserved := env[name]; !reserved {
			list = append(list, name+"="+value)
		}
	}
	for name, value := range env {
		list = append(list, name+"="+value)
	}
	slices.Sort(list)
	return list
}

// ClosedProxy is the part of every child's environment that sends forgotten clients to a port where nobody
// listens (9, discard) and spares loopback.
func ClosedProxy() map[string]string {
	const closed = "http://127.0.0.1:9"
	return map[string]string{
		"HTTP_PROXY": closed, "HTTPS_PROXY": closed, "http_proxy": closed, "https_proxy": closed,
		"NO_PROXY": "127.0.0.1,localhost", "no_proxy": "127.0.0.1,localhost",
	}
}

// initialise waits until the process asks for its first request.
func (i *instance) initialise() (chan *invocation, error) {
	limit := time.NewTimer(initLimit)
	defer limit.Stop()
	select {
	case poll := <-i.polls:
		return poll, nil
	case failed := <-i.initErr:
		return nil, initFailure{failed}
	case <-i.exited:
		select {
		case failed := <-i.initErr: // it reported, then ended
			return nil, initFailure{failed}
		default:
		}
		return nil, initFailure{errorShape("Runtime.ExitError", "Error: "+exitText(i.exit))}
	case <-limit.C:
		return nil, initFailure{errorShape("Sandbox.Timedout", fmt.Sprintf("Error: initialisation took longer than %s", initLimit))}
	case <-i.f.ctx.Done():
		return nil, errRetired
	}
}

func exitText(err error) string {
	if err == nil {
		return "Runtime exited without providing a reason"
	}
	return "Runtime exited with error: " + err.Error()
}

// serve gives the waiting process one request after another. poll is where it waits now.
func (i *instance) serve(poll chan *invocation) error {
	for {
		inv, err := i.take()
		if err != nil {
			i.f.busy()
			return err
		}
		i.f.busy()
		poll <- inv
		if poll, err = i.await(inv); err != nil {
			return err
		}
		i.f.idle()
	}
}

// take waits for work until the instance has been idle too long or its credentials near their end.
func (i *instance) take() (*invocation, error) {
	idle := time.NewTimer(min(i.f.host.Idle, time.Until(i.expires)-sessionMargin))
	defer idle.Stop()
	select {
	case inv := <-i.f.queue:
		return inv, nil
	case <-idle.C:
		return nil, errRetired
	case <-i.f.ctx.Done():
		return nil, errRetired
	case <-i.exited:
		return nil, fmt.Errorf("the process ended while it was idle: %w", errors.Join(i.exit))
	}
}

// await waits for the answer to a request, within the function's timeout, and then for the process to ask
// for the next.
func (i *instance) await(inv *invocation) (chan *invocation, error) {
	limit := time.NewTimer(i.f.Timeout)
	defer limit.Stop()
	answered := false
	for {
		select {
		case got := <-i.answers:
			got.taken <- got.id == inv.id && !answered
			if got.id == inv.id && !answered {
				answered = true
				inv.result <- got.result
			}
		case poll := <-i.polls:
			if !answered {
				inv.result <- errorShape("Runtime.NoResponse", "RequestId: "+inv.id+" Error: the runtime asked for the next request without responding to this one")
			}
			return poll, nil
		case <-limit.C:
			if !answered {
				inv.result <- errorShape("Sandbox.Timedout", fmt.Sprintf("RequestId: %s Error: Task timed out after %.2f seconds", inv.id, i.f.Timeout.Seconds()))
			}
			return nil, fmt.Errorf("request %s took longer than %s; the instance was killed", inv.id, i.f.Timeout)
		case <-i.exited:
			if !answered {
				inv.result <- errorShape("Runtime.ExitError", "RequestId: "+inv.id+" Error: "+exitText(i.exit))
			}
			return nil, fmt.Errorf("the process ended during request %s: %s", inv.id, exitText(i.exit))
		case <-i.f.ctx.Done():
			return nil, errRetired
		}
	}
}
