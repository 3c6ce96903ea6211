// Package conformance_test holds one suite of what Stile relies on AWS for, negatives included. It runs on the local
// AWS in this process by default, and with -endpoint aws on a real account, where it makes stacks of its own under a
// prefix, deletes them in the end and writes what it saw to testdata/aws. From then on the local AWS is held against
// that.
//
// Everything that the suite claims is a row of the table in table_test.go, and the README of localstack holds that
// table with what each row rests on. A test makes its claims by [saw] and [holds].
package conformance_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"regexp"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
)

var flags struct {
	endpoint, prefix, goldens string
	clean, nlb, update        bool
	within                    string
	limit                     time.Duration
}

func init() {
	flag.StringVar(&flags.endpoint, "endpoint", "", "aws: run on the account of the AWS_… environment; nothing: on the local AWS")
	flag.StringVar(&flags.prefix, "prefix", "", "what every name begins with on AWS, stile-conformance-…; a new one without it")
	flag.BoolVar(&flags.clean, "clean", false, "delete what a run with -prefix left on AWS, and run nothing")
	flag.BoolVar(&flags.nlb, "nlb", false, "observe a load balancer on AWS too: a VPC, a server and ten minutes more")
	flag.StringVar(&flags.goldens, "goldens", "testdata/aws", "where what was seen on AWS is kept")
	flag.DurationVar(&flags.limit, "limit", 2*time.Hour, "how long a run on AWS may take before it is ended and cleaned up")
	flag.StringVar(&flags.within, "within", "", "the directory of a run on AWS; the suite says it to itself")
	flag.BoolVar(&flags.update, "update", false, "write the table of behaviours into the README")
}

// world is what every test finds, wherever it is.
type world struct {
	Prefix   string
	Account  string
	Endpoint string     // "" for AWS itself
	Config   aws.Config // credentials of the role below
	RoleARN  string
	Caller   caller // alone may become the role
	Bucket   string
	Bus      string
	SignKey  string
	MacKey   string
	Outputs  map[string]string // of the stack world
	API      *api
	Stacks   stacks
	Queue    func(ctx context.Context, url string) ([]string, error) // takes what waits in a queue
	Balancer func(*testing.T) string                                 // makes a load balancer before one server; its address
}

// stacks brings templates of testdata into the account.
type stacks interface {
	// Deploy creates or updates a stack and returns its outputs. The error says why a resource failed.
	Deploy(ctx context.Context, name string, parameters map[string]string) (map[string]string, error)
}

// onAWS says that this is a real account.
func onAWS() bool { return flags.endpoint == "aws" }

// here is the world under test.
var here *world

func TestMain(m *testing.M) {
	flag.Parse()
	status, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "conformance:", err)
		status = 1
	}
	os.Exit(status)
}

func run(m *testing.M) (status int, err error) {
	if err := checkFlags(); err != nil {
		return 1, err
	}
	switch {
	case flags.within != "":
		return within(m)
	case onAWS():
		return supervise()
	}
	ctx, stopped := interruptible()
	defer stopped()
	dir, err := os.MkdirTemp("", "conformance")
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	defer context.AfterFunc(ctx, func() {
		_ = os.RemoveAll(dir)
		os.Exit(1)
	})()
	w, stop, err := serve(context.Background(), dir)
	if err != nil {
		return 1, err
	}
	here = w
	status = m.Run()
	if status == 0 && whole() {
		err = missing()
	}
	return status, errors.Join(err, stop())
}

// prefixes are those that a run may have: nothing of anybody else begins so, and none begins with another and a hyphen.
var prefixes = regexp.MustCompile(`^stile-conformance-[a-z0-9]{4,20}$`)

func checkFlags() error {
	switch {
	case flags.endpoint != "" && flags.endpoint != "aws":
		return fmt.Errorf("-endpoint is %q: it is aws, or nothing for the local AWS", flags.endpoint)
	case !onAWS() && (flags.clean || flags.nlb || flags.prefix != ""):
		return errors.New("a prefix, a load balancer and cleaning are of AWS alone: say ENDPOINT=aws as well")
	case flags.clean && flags.prefix == "":
		return errors.New("say which run to clean up after: PREFIX=… as that run has printed it")
	case onAWS() && flag.Lookup("test.timeout").Value.String() != "0s":
		return errors.New("a test's timeout would end the run before it has cleaned up: say -timeout 0, and -limit instead")
	case flag.NArg() > 0:
		return fmt.Errorf("%q is no flag", flag.Arg(0))
	case flags.prefix != "" && !prefixes.MatchString(flags.prefix):
		return fmt.Errorf("the prefix %q is none: it is stile-conformance- and 4 to 20 lower-case letters and digits, "+
			"so that nothing else in the account can have it; leave PREFIX out for a new one", flags.prefix)
	}
	return nil
}
