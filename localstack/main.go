// Command localstack is a whole AWS account on one machine, as far as the synthesised templates need it:
// when "up" returns everything is running, "down" stops it, and what was created stays on disk.
//
// It imports no product package and knows the product only by its templates, its binaries' names and
// account.yaml.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/stile-dev/stile/localstack/balance"
	"github.com/stile-dev/stile/localstack/template"
)

const usage = `usage: localstack COMMAND [-root DIR] [-state DIR]

  up       start everything in the background and wait until it can be used
             -proxies N  how many proxies run, 1 to 3
             -agents N   how many agents run, node-1 to node-N, 1 to 50
           A number other than what is running starts or stops the difference. The default is the number that
           was asked for last, or 1 the first time.
  down     stop what up started; everything that was created is kept
  delete   a stack: StileFleet, StileAudit, StileControl, then StileData; the next up creates it again
             -unprotect  also if it has termination protection
  ps       list what runs, with process ids and addresses
             -format F   table or json
  env      print the environment of a person in account.yaml (first argument: env or env.admin)
  types    print the table of resource types
  serve    run the local AWS in the foreground (up starts it)
  balance  run the load balancer in the foreground (serve starts it)

STILE_STATE names the state directory (default: .stile below -root); STILE_PORTS=auto picks free ports.
STILE_SETTLE=30s has a role's new policies take effect only after so long, as on AWS (default: at once).
STILE_LATE=60 has the load balancer be as late as on AWS with tasks that come and go, 60 times faster (default: at once).
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "localstack: %v\n", err)
		os.Exit(1)
	}
}

// errUsage is for a command line that the usage text explains.
var errUsage = errors.New("bad arguments")

func run(ctx context.Context, args []string, out io.Writer) error {
	if len(args) == 0 {
		fmt.Fprint(os.Stderr, usage)
		return errUsage
	}
	switch args[0] {
	case "types":
		_, err := io.WriteString(out, template.Markdown())
		return err
	case "help", "-h", "-help", "--help":
		return help(out)
	}
	flags := flag.NewFlagSet("localstack "+args[0], flag.ContinueOnError)
	root := flags.String("root", ".", "the repository")
	state := flags.String("state", os.Getenv("STILE_STATE"), "the state directory")
	build := flags.String("build", "", "what is running, as up names it")
	config := flags.String("config", "", "the load balancer's configuration")
	proxies := flags.String("proxies", "", "how many proxies run")
	agents := flags.String("agents", "", "how many agents run")
	unprotect := flags.Bool("unprotect", false, "also delete a stack with termination protection")
	format := flags.String("format", "table", "how ps prints")
	flags.SetOutput(io.Discard)
	if err := flags.Parse(args[1:]); errors.Is(err, flag.ErrHelp) {
		return help(out)
	} else if err != nil {
		fmt.Fprint(os.Stderr, usage)
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	p, err := newPlace(*root, *state)
	if err != nil {
		return err
	}
	switch args[0] {
	case "up":
		asked, err := parseScale(*proxies, *agents)
		if err != nil {
			return err
		}
		return up(ctx, p, asked, out)
	case "ps":
		return ps(p, *format, out)
	case "down":
		return down(ctx, p, out)
	case "delete":
		if flags.NArg() != 1 {
			return fmt.Errorf("%w: name one stack, behind the flags", errUsage)
		}
		return deleteStack(ctx, p, flags.Arg(0), *unprotect, out)
	case "env":
		if flags.NArg() > 1 {
			return fmt.Errorf("%w: write flags before the file's name", errUsage)
		}
		return printEnv(p, flags.Arg(0), out)
	case "serve":
		return serve(ctx, p, *build)
	case "balance":
		return balance.Run(ctx, *config, slog.New(slog.NewJSONHandler(os.Stdout, nil)))
	}
	fmt.Fprint(os.Stderr, usage)
	return fmt.Errorf("%w: no command %q", errUsage, args[0])
}

func help(out io.Writer) error {
	_, err := io.WriteString(out, usage)
	return err
}

func printEnv(p place, name string, out io.Writer) error {
	if name == "" {
		name = "env"
	}
	text, err := os.ReadFile(filepath.Join(p.state, filepath.Base(name)))
	if err != nil {
		return fmt.Errorf("reading the environment: %w; run make up first", err)
	}
	_, err = out.Write(text)
	return err
}
