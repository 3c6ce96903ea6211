package cmd_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/stile-dev/stile/cli/cmd"
	"github.com/stile-dev/stile/cli/profile"
)

// As ssh -G says of the same arguments.
func TestTheFirstLoginCountsAsWithOpenSSH(t *testing.T) {
	for args, want := range map[string]string{
		"h":                    "",
		"b@h":                  "b",
		"b@c@h":                "b@c",
		"-l a h":               "a",
		"-la h":                "a",
		"-l a b@h":             "a",
		"-l a -l b h":          "a",
		"-o User=a b@h":        "a",
		"-l a -o User=c h":     "a",
		"-o User=c -l a b@h":   "c",
		"-o BatchMode=yes b@h": "b",
		"-l a h -l b":          "a", // what follows is the command's
	} {
		if login, node, err := cmd.ParseSSH(strings.Fields(args)...); login != want || node != "h" || err != nil {
			t.Errorf("%s: %q at %q, %v", args, login, node, err)
		}
	}
	if _, _, err := cmd.ParseSSH("-l", "", "h"); err == nil {
		t.Error("no login is a login")
	}
}

// A certificate without logins was said to be damaged, and logging in again gave the same.
func TestWhoHasNoLoginIsToldWhichRolesGiveNone(t *testing.T) {
	const api = "https://api.example.com/prod"
	for want, roles := range map[string][]string{
		"none of your roles (auditor, dev) gives you one": {"auditor", "dev"},
		"you have no role": nil,
	} {
		home := t.TempDir()
		p, err := profile.Open(home, api)
		if err != nil {
			t.Fatal(err)
		}
		keys, err := profile.NewKeys()
		if err != nil {
			t.Fatal(err)
		}
		c := profile.Credential{API: api, User: "ada", Roles: roles, ExpiresAt: time.Now().Add(time.Hour), Keys: keys, TLSCertificate: selfSigned(t, keys.TLS)}
		if err := p.Save(c); err != nil {
			t.Fatal(err)
		}
		for _, target := range []string{"web-1", "ubuntu@web-1"} {
			var out, errs bytes.Buffer
			status := cmd.Run(t.Context(), cmd.Process{
				Args: []string{"ssh", target, "--", "true"}, In: strings.NewReader(""), Out: &out, Err: &errs,
				Getenv: func(name string) string { return map[string]string{"STILE_HOME": home, "STILE_API": api}[name] },
			})
			if said := errs.String(); status != 255 || !strings.Contains(said, want) || !strings.Contains(said, "ask an administrator for a role") || strings.Contains(said, "damaged") {
				t.Errorf("%s: status %d, %s", target, status, said)
			}
		}
	}
}
