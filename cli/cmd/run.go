// Package cmd is the command line itself: which commands there are, what they take, how they print and
// with what status they end.
//
// It decides nothing that the control plane or a node decides. Its entry point is [Run].
package cmd

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stile-dev/stile/cli/output"
	"github.com/stile-dev/stile/cli/shell"
	"github.com/stile-dev/stile/pkg/fault"
)

// Process is what a command gets from its process.
type Process struct {
	Args   []string
	Getenv func(string) string
	In     io.Reader
	Out    io.Writer
	Err    io.Writer
	Now    func() time.Time // nil: time.Now
}

// Run runs one command line and gives the exit status: 0, that of the fault, or for ssh the remote command's.
func Run(ctx context.Context, p Process) int {
	if p.Now == nil {
		p.Now = time.Now
	}
	a := &app{Process: p}
	root := a.root()
	root.SetArgs(p.Args)
	root.SetIn(p.In)
	root.SetOut(p.Out)
	root.SetErr(p.Err)
	ran, err := root.ExecuteContextC(ctx)
	if err == nil {
		return a.status
	}
	a.tell(root, err)
	if ran != nil && ran.Name() == "ssh" {
		return shell.OwnFailure
	}
	return fault.From(err).Code.Exit()
}

// tell prints an error, or each of those that were joined; the first of them decides the status.
func (a *app) tell(root *cobra.Command, err error) {
	all := []error{err}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		all = joined.Unwrap()
	}
	for _, e := range all {
		output.Fault(a.Err, a.again(root, e))
	}
}

// again has a hint that names a command of ours say --api where it was given, so that it leads to the same API.
func (a *app) again(root *cobra.Command, err error) error {
	f := fault.From(err)
	const command = "stile login"
	if !root.PersistentFlags().Changed("api") || !strings.Contains(f.Hint, command) {
		return err
	}
	same := *f
	same.Hint = strings.ReplaceAll(f.Hint, command, "stile --api "+a.api+" login")
	return &same
}

// app is what the commands share.
type app struct {
	Process
	api    string // --api
	status int    // of the remote command
}

func (a *app) root() *cobra.Command {
	c := &cobra.Command{
		Use:               "stile",
		Short:             "Reach servers without opening a port or keeping a standing credential",
		Long:              "Stile logs you in with an identity that you already have and connects you to the targets you may reach,\nthrough tunnels that the targets open themselves.",
		SilenceErrors:     true,
		SilenceUsage:      true,
		Args:              unknownCommand,
		RunE:              func(c *cobra.Command, _ []string) error { return c.Help() },
		DisableAutoGenTag: true,
		Version:           build(),
	}
	c.SetVersionTemplate("stile {{.Version}}\n")
	c.PersistentFlags().StringVar(&a.api, "api", a.Getenv("STILE_API"), "URL of the API, including its stage (STILE_API)")
	c.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return fault.New(fault.BadInput, err.Error(), "see: "+c.CommandPath()+" --help")
	})
	c.AddCommand(a.login(), a.logout(), a.statusCommand(), a.ls(), a.ssh(), a.get(), a.create(), a.token(), a.rm(), a.recording(), a.audit(), a.preflight(), a.version())
	for _, sub := range c.Commands() {
		if sub.ValidArgsFunction == nil {
			sub.ValidArgsFunction = cobra.NoFileCompletions
		}
	}
	c.InitDefaultHelpCmd()
	c.InitDefaultCompletionCmd()
	for _, sub := range c.Commands() {
		if sub.Name() == "completion" {
			sub.Args, sub.RunE = unknownCommand, func(c *cobra.Command, _ []string) error { return c.Help() }
		}
	}
	return c
}

// unknownCommand refuses what no command of c is called, with what may have been meant.
func unknownCommand(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := "see: " + c.CommandPath() + " --help"
	if c.SuggestionsMinimumDistance <= 0 {
		c.SuggestionsMinimumDistance = 2
	}
	if like := c.SuggestionsFor(args[0]); len(like) > 0 {
		hint = "did you mean: " + c.CommandPath() + " " + strings.Join(like, ", ")
	}
	return fault.Newf(fault.BadInput, hint, "%q is not a command of %s", args[0], c.CommandPath())
}

// exactly takes n arguments and says with an example what they are.
func exactly(n int, example string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) == n {
			return nil
		}
		return usage(c, example, n, len(args))
	}
}

// atLeast takes n arguments or more.
func atLeast(n int, example string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) >= n {
			return nil
		}
		return usage(c, example, n, len(args))
	}
}

func usage(c *cobra.Command, example string, want, got int) error {
	amount := "few"
	if got > want {
		amount = "many"
	}
	return fault.Newf(fault.BadInput, "type: "+example, "%s was given too %s arguments", c.CommandPath(), amount)
}

// silence returns the error that a command ends with after the user interrupted it.
func silence(err error) error {
	if errors.Is(err, context.Canceled) {
		return fault.New(fault.Unreachable, "interrupted", "type the command again").Because(err)
	}
	return err
}
