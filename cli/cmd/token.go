package cmd

import (
	"context"
	"fmt"
	"strings"
	"time"

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
		Use:   "create -f FILE --install",
		Short: "Create a join token, and print the command that installs an agent by it",
		Long: "Create the one join token of a YAML file, and print what to run on servers: a script for user data, or a command line of AWS Systems Manager.\n" +
			"It downloads stile-agent, runs it only if it has the SHA-256 that is written there, and fails if the agent doesn't join.\n" +
			"The deployment has the binaries, at URLs that are good for an hour. For user data that is kept, host them yourself: --from and --sums.\n" +
			"For method token the output holds the token's secret, and so do the user data and the command's history: prefer method iam.",
		Example: "  stile token create -f web.yaml --install --for ssm --instance i-0123456789abcdef0\n" +
			"  stile token create -f web.yaml --install --from https://downloads.example/stile --sums dist/SHA256SUMS > user-data",
		Args: exactly(0, "stile token create -f FILE --install"),
	}
	c.Flags().StringVarP(&i.file, "file", "f", "", "the file with the token, or - for the standard input")
	c.Flags().BoolVar(&i.wanted, "install", false, "print the command")
	c.Flags().BoolVar(&i.replace, "replace", false, "replace the token if it exists, as to print the command of a newer agent; one with a secret can't be replaced")
	c.Flags().StringVar(&i.from, "from", "", "URL of a directory with stile-agent-linux-amd64 and stile-agent-linux-arm64, in place of the deployment's")
	c.Flags().StringVar(&i.sums, "sums", "", "for --from: the file SHA256SUMS of make packages")
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
	if (i.from == "") != (i.sums == "") {
		return fault.New(fault.BadInput, "--from and --sums go together: one says where the binaries are, the other what they must be",
			"name dist/SHA256SUMS, which make packages writes beside the binaries, or leave out both to use the deployment's own")
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
	sources, ends, err := i.sources(ctx, s)
	if err != nil {
		return err
	}
	print := func(secret string) (string, error) {
		return i.print(sources, paste.Agent{API: s.profile.API(), Token: token.Metadata.Name, Secret: secret})
	}
	secret := ""
	if token.secret() {
		secret = resource.SecretPrefix // as long as there is none
	}
	if _, err := print(secret); err != nil {
		return err
	}
	created, err := write(ctx, s, token.wire, i.replace)
	if fault.Is(err, fault.Conflict) && !i.replace {
		const hint = "add --replace, which puts no agent out; a token with a secret needs another name"
		return token.Locate(fault.Newf(fault.Conflict, hint, "token %s already exists", token.Metadata.Name).Because(err))
	}
	if err != nil {
		return token.Locate(err)
	}
	if (token.secret() || created.Secret != "") && !resource.IsSecret(created.Secret) {
		return fault.Newf(fault.Internal, "delete it with stile rm token/"+token.Metadata.Name+" and try again; if it happens again, see the log of function admin",
			"token %s was created, but the API's answer has no secret that could be one", token.Metadata.Name)
	}
	text, err := print(created.Secret)
	if err != nil {
		return err
	}
	if created.Warning != "" {
		a.warn(created.Warning)
	}
	if !ends.IsZero() {
		a.warn("what this prints downloads the agent from the deployment until " + ends.Local().Format("15:04") + "; for user data that is kept, host the binaries and use --from and --sums")
	}
	_, err = fmt.Fprint(a.Out, text)
	return err
}

// sources are where servers get the agent from: the deployment, by URLs that end, unless another place is named.
func (i installation) sources(ctx context.Context, s session) (sources map[string]paste.Source, ends time.Time, err error) {
	if i.from != "" {
		text, err := readFile(i.sums)
		if err != nil {
			return nil, ends, fault.New(fault.BadInput, "the file of --sums can't be read", "name the file SHA256SUMS that make packages writes into dist/ beside the binaries").Because(err)
		}
		return paste.Below(i.from, paste.ReadSums(string(text))), ends, nil
	}
	list, err := s.client.AgentBinaries(ctx)
	if fault.Is(err, fault.NotFound) {
		return nil, ends, fault.New(fault.NotFound, "this deployment is older than this command and has no binaries of the agent",
			"run make packages, put dist/stile-agent-linux-* where servers can reach them, and name that with --from and --sums").Because(err)
	}
	sources = map[string]paste.Source{}
	for _, b := range list.Items {
		sources[b.Arch] = paste.Source{URL: b.URL, Sum: b.Sha256}
		if ends.IsZero() || b.ExpiresAt.Before(ends) {
			ends = b.ExpiresAt
		}
	}
	return sources, ends, err
}

// print writes the command. It is tried before the token is created, so that a token is never left without one.
func (i installation) print(sources map[string]paste.Source, agent paste.Agent) (string, error) {
	extra := []string{}
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
	agent.Extra = extra
	script, err := paste.New(sources, agent)
	switch {
	case err != nil:
		return "", err
	case i.form == "ssm":
		return script.SSM(i.instances)
	case i.form == "user-data" && len(i.instances) == 0:
		return script.UserData(), nil
	}
	return "", fault.Newf(fault.BadInput, "use --for user-data without --instance, or --for ssm with it", "--for %q can't be printed so", i.form)
}
