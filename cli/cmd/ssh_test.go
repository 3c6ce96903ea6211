package cmd_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/stile-dev/stile/cli/cmd"
	"github.com/stile-dev/stile/cli/profile"
	"github.com/stile-dev/stile/pkg/entry"
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
		"-l a h -l b":          "a",
	} {
		if login, node, _, err := cmd.ParseSSH(strings.Fields(args)...); login != want || node != "h" || err != nil {
			t.Errorf("%s: %q at %q, %v", args, login, node, err)
		}
	}
	if _, _, _, err := cmd.ParseSSH("-l", "", "h"); err == nil {
		t.Error("no login is a login")
	}
}

// As ssh does with the same arguments. What stood behind the node was sent there as it was, and the shell there printed its usage.
func TestOptionsMayStandBehindTheNode(t *testing.T) {
	for args, want := range map[string][2]string{
		"h -l a":                  {"a", ""},
		"h -l a -- id":            {"a", "id"},
		"h -l a id":               {"a", "id"},
		"h -l a cmd -x":           {"a", "cmd -x"},
		"b@h -l a cmd":            {"b", "cmd"},
		"b@h -o User=a":           {"b", ""},
		"h -o User=a cmd":         {"a", "cmd"},
		"-l a h -l b cmd -l c":    {"a", "cmd -l c"},
		"h cmd -l a -- -x":        {"", "cmd -l a -- -x"},
		"h cmd --help":            {"", "cmd --help"},
		"h -- -l a":               {"", "-l a"},
		"h -- --help":             {"", "--help"},
		"h -- -- x":               {"", "-- x"},
		"-- h -l a":               {"", "-l a"},
		"-l b -- h -l a":          {"b", "-l a"},
		"h -t -o BatchMode=yes x": {"", "x"},
		"h - x":                   {"", "- x"},
	} {
		login, node, command, err := cmd.ParseSSH(strings.Fields(args)...)
		if got := [2]string{login, command}; got != want || node != "h" || err != nil {
			t.Errorf("%s: %q at %q, %v", args, got, node, err)
		}
	}
	if _, _, _, err := cmd.ParseSSH("h", "--nonsense", "x"); err == nil {
		t.Error("an unknown option behind the node is taken for a command")
	}
}

// A certificate without logins was said to be damaged, and logging in again gave the same.
func TestWhoHasNoLoginIsToldWhichRolesGiveNone(t *testing.T) {
	const api = "https://api.example.com/prod"
	for want, has := range map[string]struct{ roles, deniedBy []string }{
		"none of your roles (auditor, dev) gives you one; ask an administrator for a role":                                       {roles: []string{"auditor", "dev"}},
		"you have no role; ask an administrator for a role":                                                                      {},
		"those that your roles (access, block) give you are denied by block; ask an administrator whether you should have block": {[]string{"access", "block"}, []string{"block"}},
	} {
		home := t.TempDir()
		p, err := profile.Open(home, api)
		if err != nil {
			t.Fatal(err)
		}
		keys, err := entry.NewKeys()
		if err != nil {
			t.Fatal(err)
		}
		c := profile.Credential{API: api, User: "ada", Roles: has.roles, DeniedBy: has.deniedBy, ExpiresAt: time.Now().Add(time.Hour), Keys: keys, TLSCertificate: selfSigned(t, keys.TLS)}
		if err := p.Save(c); err != nil {
			t.Fatal(err)
		}
		for _, target := range []string{"web-1", "ubuntu@web-1"} {
			var out, errs bytes.Buffer
			status := cmd.Run(t.Context(), cmd.Process{
				Args: []string{"ssh", target, "--", "true"}, In: strings.NewReader(""), Out: &out, Err: &errs,
				Getenv: func(name string) string { return map[string]string{"STILE_HOME": home, "STILE_API": api}[name] },
			})
			if said := strings.ReplaceAll(errs.String(), "\nstile: hint: ", "; "); status != 255 || !strings.Contains(said, want) || strings.Contains(said, "damaged") {
				t.Errorf("%s: status %d, %s", target, status, said)
			}
		}
	}
}
