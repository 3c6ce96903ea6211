package main

import (
	"context"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/stile-dev/stile/agent/config"
	"github.com/stile-dev/stile/agent/install"
	"github.com/stile-dev/stile/pkg/fault"
)

const usageInstall = `usage: stile-agent install --api URL --token NAME [options]

Writes the configuration and the systemd unit, starts the agent, and waits until it has joined. Run again with the
same options it changes nothing, but it restarts an agent that runs another program than this one and has no users.
Another configuration that is there already is replaced only with --force.

  --api URL             of the API, as people have it in STILE_API
  --token NAME          the join token
  --method iam|token    how it joins
  --secret-file FILE    of method token: the file with its secret
  --name NAME           of the node; the host name by default
  --target KIND/NAME    something that it serves; may be repeated
  --label KEY=VALUE     a label that it claims; may be repeated
  --proxy HOST:PORT     reach the API through this proxy's port, too
  --ca-pin KEYID        of the cluster's root key
  --region REGION       of AWS
  --config FILE         where the configuration goes (/etc/stile/agent.yaml)
  --force               replace another configuration
  --dry-run             print the files and change nothing
  --wait DURATION       how long to wait until it has joined (2m)
`

// installed reads what install was told, and does it.
func installed(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("stile-agent install", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	p := install.Plan{}
	set := settings(flags)
	flags.StringVar(&p.File, "config", config.File, "")
	flags.BoolVar(&p.Force, "force", false, "")
	flags.DurationVar(&p.Wait, "wait", 2*time.Minute, "")
	dry := flags.Bool("dry-run", false, "")
	err := flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		_, err := io.WriteString(out, usageInstall)
		return err
	case err != nil:
		return fault.New(fault.BadInput, err.Error(), "run: stile-agent install --help")
	case flags.NArg() > 0:
		return fault.Newf(fault.BadInput, "run: stile-agent install --help", "unexpected argument %q", flags.Arg(0))
	case p.Wait < time.Second || p.Wait > time.Hour:
		return fault.New(fault.BadInput, "--wait must be from 1s to 1h", "leave it out for 2m")
	}
	p.Settings = set()
	if p.Program, err = os.Executable(); err == nil {
		p.Program, err = filepath.EvalSymlinks(p.Program)
	}
	if err != nil {
		return fault.New(fault.Internal, "this program's own path can't be found", "start it by its absolute path").Because(err)
	}
	if *dry {
		return p.Show(out)
	}
	return install.Run(ctx, p, out)
}

// settings adds the flags that are keys of the configuration; the function returns those that were given.
func settings(flags *flag.FlagSet) func() []install.Setting {
	keys := []string{"api", "proxy", "method", "token", "secret-file", "name", "ca-pin", "region"}
	for _, key := range keys {
		flags.String(key, "", "")
	}
	var targets []string
	labels := map[string]string{}
	flags.Func("target", "", func(v string) error { targets = append(targets, v); return nil })
	flags.Func("label", "", func(v string) error {
		key, value, ok := strings.Cut(v, "=")
		if _, twice := labels[key]; !ok || key == "" || twice {
			return errors.New("must be KEY=VALUE, each key once")
		}
		labels[key] = value
		return nil
	})
	return func() (out []install.Setting) {
		for _, key := range keys {
			v := flags.Lookup(key).Value.String()
			if abs, err := filepath.Abs(v); key == "secret-file" && v != "" && err == nil {
				v = abs // systemd starts the agent elsewhere
			}
			if v != "" {
				out = append(out, install.Setting{Key: strings.ReplaceAll(key, "-", "_"), Value: v})
			}
		}
		if len(targets) > 0 {
			out = append(out, install.Setting{Key: "targets", Value: targets})
		}
		if len(labels) > 0 {
			out = append(out, install.Setting{Key: "labels", Value: labels})
		}
		return out
	}
}
