package cmd

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stile-dev/stile/cli/paste"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/resource"
)

func (a *app) token() *cobra.Command {
	c := &cobra.Command{
		Use: "token", Short: "Create a join token and the command that installs agents by it",
		Args: unknownCommand, RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(a.tokenCreate())
	return c
}

// installation is what the flags of token create say beyond the file.
type installation struct {
	file, from, sums, form, name, pin, proxy string
	labels, instances                        []string
	wanted, replace                          bool
}

func (a *app) tokenCreate() *cobra.Command {
	var i installation
	c := &cobra.Command{
		Use:   "create -f FILE --install --from URL --sums FILE",
		Short: "Create a join token, and print the command that installs an agent by it",
		Long: "Create the one join token of a YAML file, and print what to run on servers: a script for user data, or a command line of AWS Systems Manager.\n" +
			"It downloads stile-agent from the URL, runs it only if its SHA-256 is that of the file SHA256SUMS, and fails if the agent doesn't join.\n" +
			"For method token the output holds the token's secret, and so do the user data and the command's history: prefer method iam.",
		Example: "  stile token create -f web.yaml --install --from https://downloads.example/stile --sums dist/SHA256SUMS > user-data\n" +
			"  stile token create -f web.yaml --install --from https://downloads.example/stile --sums dist/SHA256SUMS --for ssm --instance i-0123456789abcdef0",
		Args: exactly(0, "stile token create -f FILE --install --from URL --sums FILE"),
	}
	c.Flags().StringVarP(&i.file, "file", "f", "", "the file with the token, or - for the standard input")
	c.Flags().BoolVar(&i.wanted, "install", false, "print the command")
	c.Flags().BoolVar(&i.replace, "replace", false, "replace the token if it exists, as to print the command of a newer agent; one with a secret can't be replaced")
	c.Flags().StringVar(&i.from, "from", "", "https URL of the directory with stile-agent-linux-amd64 and stile-agent-linux-arm64")
	c.Flags().StringVar(&i.sums, "sums", "", "the file SHA256SUMS of make packages")
	c.Flags().StringVar(&i.form, "for", "user-data", "user-data or ssm")
	c.Flags().StringArrayVar(&i.instances, "instance", nil, "for ssm: the id of an instance; may be repeated")
	c.Flags().StringArrayVar(&i.labels, "label", nil, "KEY=VALUE that agents claim; may be repeated")
	c.Flags().StringVar(&i.name, "name", "", "name of the node, if it is for one server; else each takes its host name")
	c.Flags().StringVar(&i.proxy, "proxy", "", "HOST:PORT of a proxy by which agents reach the API, too")
	c.Flags().StringVar(&i.pin, "ca-pin", "", "key id of the cluster's root key")
	offer(c, "for", "user-data", "ssm")
	c.RunE = func(c *cobra.Command, _ []string) error { return silence(a.createToken(c.Context(), i)) }
	return c
}

func (a *app) createToken(ctx context.Context, i installation) error {
	if !i.wanted {
		return fault.New(fault.BadInput, "without --install there is nothing to print", "type: stile create -f FILE")
	}
	list, err := a.read(i.file)
	if err == nil {
		err = creatable(list, i.replace)
	}
	if err != nil {
		return fmt.Errorf("reading %s: %w", i.file, err)
	}
	if len(list) != 1 || list[0].Kind != "token" {
		return fault.Newf(fault.BadInput, "keep one token in it; stile create takes the others", "%s is to hold one token and nothing else", i.file)
	}
	s, err := a.session()
	if err != nil {
		return err
	}
	return a.issueToken(ctx, s, list[0], i)
}

// issueToken creates the token and prints the command.
func (a *app) issueToken(ctx context.Context, s session, token entry, i installation) error {
	api, name := s.profile.API(), token.Metadata.Name
	secret := ""
	if token.secret() {
		secret = resource.SecretPrefix // as long as there is none
	}
	if _, err := i.print(api, name, secret); err != nil {
		return err
	}
	created, err := write(ctx, s, token.wire, i.replace)
	if fault.Is(err, fault.Conflict) && !i.replace {
		const hint = "add --replace, which puts no agent out; a token with a secret needs another name"
		return token.Locate(fault.Newf(fault.Conflict, hint, "token %s already exists", name).Because(err))
	}
	if err != nil {
		return token.Locate(err)
	}
	text, err := i.print(api, name, created.Secret)
	if err != nil {
		return err
	}
	if created.Warning != "" {
		a.warn(created.Warning)
	}
	_, err = fmt.Fprint(a.Out, text)
	return err
}

// print writes the command. It is tried before the token is created, so that a token is never left without one.
func (i installation) print(api, token, secret string) (string, error) {
	text, err := readFile(i.sums)
	if err != nil {
		return "", fault.New(fault.BadInput, "the file of --sums can't be read", "name the file SHA256SUMS that make packages writes").Because(err)
	}
	var extra []string
	for _, label := range i.labels {
		if key, _, ok := strings.Cut(label, "="); !ok || key == "" {
			return "", fault.Newf(fault.BadInput, "write it as KEY=VALUE", "the label %q has no value", label)
		}
		extra = append(extra, "--label", label)
	}
	for _, flag := range [][2]string{{"--name", i.name}, {"--proxy", i.proxy}, {"--ca-pin", i.pin}} {
		if flag[1] != "" {
			extra = append(extra, flag[0], flag[1])
		}
	}
	script, err := paste.New(paste.Source{URL: i.from, Sums: paste.ReadSums(string(text))}, paste.Agent{API: api, Token: token, Secret: secret, Extra: extra})
	switch {
	case err != nil:
		return "", err
	case i.form == "ssm":
		return script.SSM(i.instances)
	case i.form == "user-data" && len(i.instances) == 0:
		return script.UserData(), nil
	}
	return "", fault.Newf(fault.BadInput, "use user-data without --instance, or ssm with it", "there is no such form of the command: %q", i.form)
}
