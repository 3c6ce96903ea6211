package cmd

import (
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/smithy-go/logging"
	"github.com/spf13/cobra"

	"github.com/stile-dev/stile/cli/login"
	"github.com/stile-dev/stile/pkg/certs"
	"github.com/stile-dev/stile/pkg/client"
	"github.com/stile-dev/stile/pkg/escape"
	"github.com/stile-dev/stile/pkg/fault"
)

func (a *app) login() *cobra.Command {
	var iam bool
	var ttl time.Duration
	c := &cobra.Command{
		Use:     "login --iam",
		Short:   "Log in with the AWS identity of this shell",
		Long:    "Log in with the AWS identity that the AWS SDK finds: environment, profile, SSO session or instance role.\nThis needs no AWS permission. No AWS credential leaves this machine, only a signed sts:GetCallerIdentity request.",
		Example: "  stile login --iam\n  AWS_PROFILE=dev stile login --iam --ttl 1h",
		Args:    exactly(0, "stile login --iam"),
	}
	c.Flags().BoolVar(&iam, "iam", false, "log in with an AWS identity")
	c.Flags().Var((*life)(&ttl), "ttl", "how long to stay logged in, 1s to 12h; your roles may allow less (default 8h)")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if !iam {
			return fault.New(fault.BadInput, "no way to log in was given", "run: stile login --iam")
		}
		if c.Flags().Changed("ttl") && ttl < time.Second {
			return fault.Newf(fault.BadInput, "use --ttl with a duration such as 30m or 8h", "%s is too short for a login", ttl)
		}
		if ttl > certs.MaxUserLife {
			return fault.Newf(fault.BadInput, "use --ttl with at most 12h", "%s is too long for a login", ttl)
		}
		return a.runLogin(c, ttl)
	}
	return c
}

// life is a flag for a duration, which says how to write one.
type life time.Duration

// Set implements pflag.Value.
func (l *life) Set(v string) error {
	d, err := time.ParseDuration(v)
	if err != nil {
		return errors.New("write a duration such as 30m, 8h or 1h30m")
	}
	*l = life(d)
	return nil
}

// String implements pflag.Value.
func (l *life) String() string { return "" }

// Type implements pflag.Value.
func (l *life) Type() string { return "duration" }

func (a *app) runLogin(c *cobra.Command, ttl time.Duration) error {
	p, err := a.profile()
	if err != nil {
		return err
	}
	cl, err := client.New(client.Config{URL: p.API(), Now: a.Now})
	if err != nil {
		return err
	}
	aws, err := config.LoadDefaultConfig(c.Context(), config.WithLogger(logging.Nop{})) // its warnings come before our error, which says more
	if err != nil {
		return fault.New(fault.BadInput, "this shell's AWS configuration can't be read",
			"check AWS_PROFILE and the files in ~/.aws").Because(err)
	}
	cred, err := login.IAM(c.Context(), login.Config{API: cl, Profile: p, AWS: aws, TTL: ttl, Now: a.Now})
	if err != nil {
		return silence(err)
	}
	_, err = fmt.Fprintf(a.Out, "Logged in as %s until %s\n", escape.Text(cred.User), cred.ExpiresAt.Local().Format(time.DateTime))
	return err
}

func (a *app) logout() *cobra.Command {
	var forget bool
	c := &cobra.Command{
		Use:   "logout",
		Short: "Remove this machine's login: its keys and certificates",
		Args:  exactly(0, "stile logout"),
	}
	c.Flags().BoolVar(&forget, "forget", false, "forget the cluster's keys too, for a cluster that was set up again at the same address")
	c.RunE = func(*cobra.Command, []string) error {
		p, err := a.profile()
		if err != nil {
			return err
		}
		had, err := p.Remove()
		if err != nil {
			return err
		}
		if forget {
			if err := p.Forget(); err != nil {
				return fmt.Errorf("forgetting the cluster's keys: %w", err)
			}
		}
		word := "Not logged in at"
		if had {
			word = "Logged out of"
		}
		_, err = fmt.Fprintf(a.Out, "%s %s\n", word, escape.Text(p.API()))
		return err
	}
	return c
}
