package cmd

import (
	"cmp"
	"context"
	"fmt"
	"os/user"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stile-dev/stile/cli/profile"
	"github.com/stile-dev/stile/cli/shell"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
)

func (a *app) ssh() *cobra.Command {
	c := &cobra.Command{
		Use:   "ssh [OPTIONS] [LOGIN@]NODE [OPTIONS] [--] [COMMAND...]",
		Short: "Open a shell on a node, or run a command there",
		Long: "Open a shell on a node, or run a command there. The exit status is the command's; 255 when the session itself failed.\n" +
			"LOGIN defaults to the only one that you may use there, or else to your local user name.\n" +
			"As with OpenSSH, options are read before NODE and behind it. COMMAND begins at the first word that isn't an option, or\n" +
			"behind --, and everything from there on is the command's. Of several logins (-l, -o User, LOGIN@) the first counts.\n" +
			"-o takes these OpenSSH options: " + strings.Join(optionNames(), ", ") + ".",
		Example: "  stile ssh web-1\n  stile ssh ubuntu@web-1 -- uptime\n  tar c . | stile ssh web-1 -- tar x -C /tmp",
		Args:    atLeast(1, "stile ssh [LOGIN@]NODE [-- COMMAND...]"),

		ValidArgsFunction: a.completeNodes,
	}
	flags := sshFlags(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		l, err := flags.read(c, args)
		if err != nil {
			return err
		}
		if l.help {
			return c.Help()
		}
		if l.options.tty == 1 && !shell.IsTerminal(a.In) {
			a.warn("there is no local terminal, so the command gets none; use -tt to force one")
		}
		return a.runSSH(c.Context(), l)
	}
	return c
}

func (a *app) runSSH(ctx context.Context, l line) error {
	login, node := l.options.user, l.node
	if node == "" {
		return fault.New(fault.BadInput, "no node was named", "type: stile ssh [LOGIN@]NODE")
	}
	if !identity.ValidTargetName(node) {
		return fault.Newf(fault.BadInput, "run stile ls to see the nodes", "%q can't be a node's name: 1–63 lower-case letters, digits, dots and hyphens", node)
	}
	s, err := a.session()
	if err != nil {
		return err
	}
	if len(s.credential.Logins) == 0 {
		return loginless(s.credential)
	}
	if login == "" {
		if login, err = a.defaultLogin(ctx, s, node); err != nil {
			return err
		}
	}
	trust, err := s.profile.Trusted()
	if err != nil {
		return err
	}
	proxies, err := s.proxies(ctx)
	if err != nil {
		return silence(err)
	}
	client, err := shell.Dial(ctx, shell.Config{
		Node: node, Login: login,
		SSHKey: s.credential.Keys.SSH, SSHCertificate: s.credential.SSHCertificate,
		TLSKey: s.credential.Keys.TLS, TLSCertificate: s.credential.TLSCertificate,
		Trust: trust, Proxies: proxies, Timeout: l.options.timeout, Now: a.Now, Banner: a.Err, Warn: a.warn,
	})
	if fault.Is(err, fault.NoTunnel) || fault.Is(err, fault.NotFound) {
		err = s.missing(ctx, node, err)
	}
	if err != nil {
		return silence(err)
	}
	defer func() { _ = client.Close() }()
	tty := a.wantsTTY(l.options.tty, l.command)
	a.status, err = shell.Run(ctx, client, shell.Request{
		Command: l.command, TTY: tty, Escapes: tty && shell.IsTerminal(a.In), Term: a.Getenv("TERM"), Env: l.options.environment(a.Getenv),
		In: a.In, Out: a.Out, Err: a.Err,
	})
	return silence(err)
}

// loginless says why there is no SSH certificate: it would name the logins.
func loginless(c profile.Credential) error {
	roles := c.Roles
	if by := strings.Join(c.DeniedBy, ", "); by != "" {
		return fault.Newf(fault.Denied, "ask an administrator whether you should have "+by+"; once that is changed, log in again: stile login --iam",
			"you may use no login on any node: those that your roles (%s) give you are denied by %s", strings.Join(roles, ", "), by)
	}
	held := "you have no role"
	if len(roles) > 0 {
		held = "none of your roles (" + strings.Join(roles, ", ") + ") gives you one"
	}
	return fault.Newf(fault.Denied, "ask an administrator for a role with logins and node_labels, or for the trait that its logins are made from; then log in again: stile login --iam",
		"you may use no login on any node: %s", held)
}

// wantsTTY follows OpenSSH: a shell gets a terminal when there is one here, a command when asked for with -t.
func (a *app) wantsTTY(asked int, command string) bool {
	switch {
	case asked < 0:
		return false
	case asked >= 2:
		return true
	case asked == 1 || command == "":
		return shell.IsTerminal(a.In)
	}
	return false
}

// localUser returns the name of the user who runs this process, "" if the system has none.
func (a *app) localUser() string {
	if name := cmp.Or(a.Getenv("USER"), a.Getenv("LOGNAME")); name != "" {
		return name
	}
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return ""
}

// defaultLogin returns the only login that may be used on the node, or else the local user's name if it is one of them.
func (a *app) defaultLogin(ctx context.Context, s session, node string) (string, error) {
	logins := s.credential.Logins
	absent := false
	if len(logins) > 1 {
		if list, err := s.nodes(ctx); err == nil {
			n, ok := find(list, node)
			if absent = !ok; ok {
				logins = slices.DeleteFunc(n.Logins, func(l string) bool { return !s.credential.Allows(l) })
			}
		}
	}
	if len(logins) == 1 {
		return logins[0], nil
	}
	if user := a.localUser(); user != "" && slices.Contains(logins, user) {
		return user, nil
	}
	if absent {
		return "", unknown(node)
	}
	if len(logins) == 0 {
		return "", fault.Newf(fault.Denied, "ask an administrator for a role that allows a login there, then log in again",
			"your roles allow no login on node %s", node)
	}
	return "", fault.Newf(fault.BadInput, fmt.Sprintf("name one of them: stile ssh %s@%s", logins[0], node),
		"several logins may be used on node %s: %s", node, strings.Join(logins, ", "))
}
