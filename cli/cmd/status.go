package cmd

import (
	"fmt"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stile-dev/stile/cli/output"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/release"
)

// statusView is what status prints, all of it from this machine.
type statusView struct {
	API           string           `json:"api"`
	Cluster       string           `json:"cluster"`
	User          string           `json:"user"`
	Roles         []string         `json:"roles"`
	Logins        []string         `json:"logins"`
	CertificateID string           `json:"certificate_id"`
	ExpiresAt     time.Time        `json:"expires_at"`
	Trust         identity.Version `json:"trust"`
}

func (a *app) statusCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "status",
		Short: "Show who you are logged in as, and until when",
		Long:  "Show the login of this machine. This doesn't call the API. The exit status is 3 when there is no login or it has expired.",
		Args:  exactly(0, "stile status"),
	}
	format := formatFlag(c, output.Table, output.Formats...)
	c.RunE = func(*cobra.Command, []string) error {
		f, err := format()
		if err != nil {
			return err
		}
		p, err := a.profile()
		if err != nil {
			return err
		}
		cred, err := p.Current(a.Now())
		if err != nil {
			return err
		}
		trust, err := p.Trusted()
		if err != nil {
			return err
		}
		v := statusView{
			API: p.API(), Cluster: cred.Cluster, User: cred.User, Roles: cred.Roles, Logins: cred.Logins,
			CertificateID: cred.CertificateID, ExpiresAt: cred.ExpiresAt, Trust: trust.Version,
		}
		return a.printStatus(f, v)
	}
	return c
}

func (a *app) printStatus(f output.Format, v statusView) error {
	left := v.ExpiresAt.Sub(a.Now()).Round(time.Second)
	return output.Print(a.Out, f, v, output.Rows{
		Header: []string{"user", v.User},
		Lines: [][]string{
			{"roles", strings.Join(v.Roles, ", ")},
			{"logins", strings.Join(v.Logins, ", ")},
			{"until", fmt.Sprintf("%s (%s left)", v.ExpiresAt.Local().Format(time.DateTime), left)},
			{"api", v.API},
			{"cluster", v.Cluster},
			{"certificate", v.CertificateID},
			{"trust", fmt.Sprintf("%d.%d", v.Trust.Epoch, v.Trust.Counter)},
		},
	})
}

func (a *app) version() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Show which build this is",
		Args:  exactly(0, "stile version"),
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintln(a.Out, "stile "+build())
			return err
		},
	}
}

// build names the version, and the Go that it was built with.
func build() string { return release.Version() + " " + runtime.Version() }
