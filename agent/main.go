// Command stile-agent serves a machine to the users of a cluster through reverse tunnels.
//
// It knows no detail of what it serves; the packages beside it do. Its entry point is main.
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
	"syscall"

	_ "golang.org/x/crypto/x509roots/fallback" // public roots, for a host that has none

	"github.com/stile-dev/stile/agent/config"
	"github.com/stile-dev/stile/agent/serve"
	"github.com/stile-dev/stile/pkg/escape"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/release"
)

const usage = `usage:
  stile-agent run --config FILE     serve this machine
  stile-agent status [--state DIR | --config FILE]
                                    exit 0 when a tunnel is up; with --idle, when no user is connected
  stile-agent install --api URL --token NAME
                                    set it up and start it; see stile-agent install --help
  stile-agent version
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := command(ctx, os.Args[1:], os.Stdout)
	stop()
	if err == nil {
		return
	}
	os.Exit(report(os.Stderr, err))
}

// report writes an error and its hint, which may be a proxy's or the API's text, and returns the status to end with.
func report(w io.Writer, err error) int {
	f := fault.From(err)
	message := f.Message
	if f.Code == fault.Internal {
		message = err.Error()
	}
	fmt.Fprintf(w, "stile-agent: error: %s\n", escape.Text(message))
	if f.Hint != "" {
		fmt.Fprintf(w, "stile-agent: hint: %s\n", escape.Text(f.Hint))
	}
	return f.Code.Exit()
}

func command(ctx context.Context, args []string, out io.Writer) error {
	if len(args) == 0 {
		return misused("no command was given")
	}
	if args[0] == "install" {
		return installed(ctx, args[1:], out)
	}
	flags := flag.NewFlagSet("stile-agent "+args[0], flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	file := flags.String("config", config.File, "")
	dir := flags.String("state", "", "")
	idle := flags.Bool("idle", false, "")
	if err := flags.Parse(args[1:]); errors.Is(err, flag.ErrHelp) {
		args[0] = "help"
	} else if err != nil || flags.NArg() > 0 {
		return misused("unexpected arguments for " + args[0])
	}
	switch args[0] {
	case "run":
		return run(ctx, *file)
	case "status":
		given := false
		flags.Visit(func(f *flag.Flag) { given = given || f.Name == "config" })
		if *dir == "" && !given {
			*dir = config.State
		}
		return ask(ctx, *dir, *file, *idle, out)
	case "version":
		_, err := fmt.Fprintln(out, software)
		return err
	case "help", "-h", "--help":
		_, err := io.WriteString(out, usage)
		return err
	}
	return misused("there is no command " + args[0])
}

func misused(message string) error {
	return fault.New(fault.BadInput, message, "run: stile-agent --help")
}

func run(ctx context.Context, file string) error {
	if err := keepInherited(); err != nil {
		return err
	}
	defer outlive(syscall.SIGHUP)()
	c, err := config.Read(file)
	if err != nil {
		return err
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.Log)); err != nil {
		return misused("log: " + err.Error())
	}
	return serve.Run(ctx, c, serve.Options{
		Software: software, Log: logger(os.Stderr, level),
	})
}

func logger(w io.Writer, level slog.Level) *slog.Logger {
	return slog.New(slog.NewJSONHandler(escape.JSONWriter(w), &slog.HandlerOptions{Level: level}))
}

// software is the name and version of this program.
var software = "stile-agent/" + release.Version()
