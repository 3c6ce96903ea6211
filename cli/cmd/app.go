package cmd

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stile-dev/stile/cli/output"
	"github.com/stile-dev/stile/cli/profile"
	"github.com/stile-dev/stile/pkg/client"
	"github.com/stile-dev/stile/pkg/escape"
)

// profile finds the directory of the API that is talked to.
func (a *app) profile() (*profile.Profile, error) {
	home, err := profile.Home(a.Getenv)
	if err != nil {
		return nil, err
	}
	api, err := profile.API(home, a.api)
	if err != nil {
		return nil, err
	}
	return profile.Open(home, api)
}

// session is what a command works with once its user is logged in.
type session struct {
	profile    *profile.Profile
	credential profile.Credential
	client     *client.Client
}

// session loads a login that is still valid.
func (a *app) session() (session, error) {
	p, err := a.profile()
	if err != nil {
		return session{}, err
	}
	cred, err := p.Current(a.Now())
	if err != nil {
		return session{}, err
	}
	cl, err := client.New(client.Config{URL: p.API(), Key: cred.Keys.TLS, Certificate: cred.TLSCertificate, Now: a.Now})
	if err != nil {
		return session{}, err
	}
	return session{profile: p, credential: cred, client: cl}, nil
}

// warn reports something that doesn't keep the command from its work.
func (a *app) warn(text string) {
	_, _ = fmt.Fprintf(a.Err, "stile: warning: %s\n", escape.Text(text))
}

// formatFlag adds --format and returns a function that reads it.
func formatFlag(c *cobra.Command, standard output.Format, allowed ...output.Format) func() (output.Format, error) {
	words := make([]string, len(allowed))
	for i, f := range allowed {
		words[i] = string(f)
	}
	value := c.Flags().String("format", string(standard), "how to print: "+strings.Join(words, ", "))
	offer(c, "format", words...)
	return func() (output.Format, error) { return output.Parse(*value, allowed...) }
}
