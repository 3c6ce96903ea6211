package conformance_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/stile-dev/stile/localstack/cloud"
	"github.com/stile-dev/stile/localstack/iam"
	"github.com/stile-dev/stile/localstack/template"
)

const (
	localAccount = "111122223333"
	localRegion  = "us-east-1"
	localPrefix  = "stile-conformance-local"
)

// local is the account that this process serves.
type local struct {
	dir      string
	endpoint string
	cloud    *cloud.Cloud
	deployer *template.Deployer
	api      *httptest.Server
}

// serve brings the stacks store and world up on loopback.
func serve(ctx context.Context, dir string) (w *world, stop func() error, err error) {
	l, end, err := listen(ctx, dir)
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, end())
		}
	}()
	w = &world{Prefix: localPrefix, Account: localAccount, Caller: caller{"role", "operator"}, Stacks: l, Queue: l.queue, Balancer: l.balancer}
	if err = bring(ctx, w); err != nil {
		return nil, nil, err
	}
	roots := x509.NewCertPool()
	roots.AddCert(l.api.Certificate())
	w.API = &api{Host: l.api.Listener.Addr().String(), Stage: "/prod", TLS: &tls.Config{RootCAs: roots}}
	w.Endpoint = l.endpoint
	w.Config, err = l.login(w.RoleARN)
	return w, end, err
}

// engine puts what the local Athena runs queries with beside the other programs.
func engine(bin string) error {
	built, err := filepath.Abs("../../bin/duck")
	if err == nil {
		_, err = os.Stat(built)
	}
	if err != nil {
		return fmt.Errorf("the engine of queries is missing; run make duck: %w", err)
	}
	return os.Symlink(built, filepath.Join(bin, "duck"))
}

// listen opens the local AWS and serves it.
func listen(ctx context.Context, dir string) (*local, func() error, error) {
	bin := filepath.Join(dir, "bin")
	if err := build(ctx, filepath.Join(bin, "functions", "conformance"), ""); err != nil {
		return nil, nil, err
	}
	if err := engine(bin); err != nil {
		return nil, nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	c, err := cloud.Open(cloud.Config{
		Account: localAccount, Region: localRegion, Partition: "aws", Minute: time.Second,
		Dir: filepath.Join(dir, "aws"), BinDir: bin, LogDir: filepath.Join(dir, "log"), RunDir: filepath.Join(dir, "run"), HomeDir: filepath.Join(dir, "home"),
		Balancer: filepath.Join(dir, "balancer.json"), TrustFile: filepath.Join(dir, "root.pem"), Endpoint: "http://" + listener.Addr().String(),
		Port: func(string) (int, error) { return 0, errors.New("no tasks here") }, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return nil, nil, errors.Join(err, listener.Close())
	}
	gate := &http.Server{Handler: c.Gate}
	go func() { _ = gate.Serve(listener) }()
	l := &local{dir: dir, endpoint: "http://" + listener.Addr().String(), cloud: c, api: httptest.NewUnstartedServer(c.API)}
	l.api.EnableHTTP2 = true
	l.api.StartTLS()
	l.deployer, err = c.Deployer()
	stop := func() error {
		l.api.Close()
		return errors.Join(gate.Close(), c.Close())
	}
	if err != nil {
		return nil, nil, errors.Join(err, stop())
	}
	return l, stop, nil
}

// bring deploys what every test finds.
func bring(ctx context.Context, w *world) error {
	store, err := w.Stacks.Deploy(ctx, "store", map[string]string{"Prefix": w.Prefix})
	if err != nil {
		return err
	}
	w.Bucket = store["Bucket"]
	given := w.code()
	given["CallerKind"], given["CallerName"] = w.Caller.Kind, w.Caller.Name
	w.Outputs, err = w.Stacks.Deploy(ctx, "world", given)
	w.RoleARN, w.Bus, w.SignKey, w.MacKey = w.Outputs["SuiteRole"], w.Outputs["Bus"], w.Outputs["SignKey"], w.Outputs["MacKey"]
	return err
}

// code is the parameters of a stack with functions.
func (w *world) code() map[string]string {
	return map[string]string{"Prefix": w.Prefix, "Bucket": w.Bucket, "CodeKey": codeKey}
}

// Deploy implements stacks with the deployer that `make up` uses.
func (l *local) Deploy(ctx context.Context, name string, parameters map[string]string) (map[string]string, error) {
	raw, err := os.ReadFile(templatePath(name))
	if err != nil {
		return nil, err
	}
	t, err := template.Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return l.deployer.Deploy(ctx, template.Stack{Name: parameters["Prefix"] + "-" + stackName(name, parameters), Template: t, Parameters: parameters})
}

// stackName tells apart the stacks of one template, if it has the parameter Note. A template …-gone is what becomes of
// another's stack.
func stackName(name string, parameters map[string]string) string {
	name = strings.TrimSuffix(name, "-gone")
	if note := parameters["Note"]; note != "" {
		return name + "-" + note
	}
	return name
}

func templatePath(name string) string { return filepath.Join("testdata", name+".json") }

// login gives credentials of the suite's role.
func (l *local) login(role string) (aws.Config, error) {
	c, err := l.cloud.Authority.Mint(role, "suite", time.Hour)
	if err != nil {
		return aws.Config{}, err
	}
	return aws.Config{Region: localRegion, Credentials: static(c)}, nil
}

func static(c iam.Credentials) aws.CredentialsProvider {
	return credentials.NewStaticCredentialsProvider(c.AccessKeyID, c.SecretAccessKey, c.SessionToken)
}

// queue takes up to ten messages from a queue, as the suite's role.
func (l *local) queue(ctx context.Context, url string) ([]string, error) {
	c, err := l.login("arn:aws:iam::" + localAccount + ":role/" + localPrefix + "-suite")
	if err != nil {
		return nil, err
	}
	client := sqs.NewFromConfig(c, func(o *sqs.Options) { o.BaseEndpoint = &l.endpoint })
	out, err := client.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: &url, MaxNumberOfMessages: 10})
	if err != nil {
		return nil, err
	}
	var bodies []string
	for _, m := range out.Messages {
		bodies = append(bodies, *m.Body)
		if _, err := client.DeleteMessage(ctx, &sqs.DeleteMessageInput{QueueUrl: &url, ReceiptHandle: m.ReceiptHandle}); err != nil {
			return nil, err
		}
	}
	return bodies, nil
}

// build makes the suite's program, for this machine or for arch of Linux.
func build(ctx context.Context, path, arch string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-tags", "lambda.norpc", "-o", path, "./testdata/program")
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOTMPDIR="+filepath.Dir(path)) // what a killed build leaves goes with the rest
	if arch != "" {
		cmd.Env = append(cmd.Env, "GOOS=linux", "GOARCH="+arch)
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building the suite's program: %w: %s", err, out)
	}
	return nil
}
