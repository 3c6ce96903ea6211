package account_test

import (
	"os"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/stile-dev/stile/localstack/account"
)

var vars = map[string]string{"USER": "eve", "STATE": "/tmp/state", "API": "https://127.0.0.1:9011/prod", "PROXY": "127.0.0.1:9443"}

func TestTheShippedAccountIsComplete(t *testing.T) {
	a, err := account.Load("../account.yaml", vars)
	if err != nil {
		t.Fatal(err)
	}
	if a.Admin().Session != "ada" || a.Admin().Env != "env.admin" {
		t.Errorf("administrator %+v", a.Admin())
	}
	if got := a.Agents[0].Config["state"]; got != "/tmp/state/home/node-1/state" {
		t.Errorf("agent's state directory %v", got)
	}
	raw, err := a.Resources[0].YAML()
	if err != nil {
		t.Fatal(err)
	}
	var back map[string]any
	if err := yaml.Unmarshal(raw, &back); err != nil || back["kind"] != "iam_mapping" || !strings.Contains(string(raw), "eve") {
		t.Errorf("resource as YAML (%v):\n%s", err, raw)
	}
}

func TestParseRefuses(t *testing.T) {
	raw, err := os.ReadFile("../account.yaml")
	if err != nil {
		t.Fatal(err)
	}
	good := string(raw)
	for name, c := range map[string]struct{ text, want string }{
		"an unknown key":         {good + "colour: red\n", `unknown field "colour"`},
		"an unknown nested key":  {strings.Replace(good, "session: alice", "sesion: alice", 1), `unknown field "sesion"`},
		"an unknown variable":    {strings.Replace(good, "${USER}", "${USR}", 2), "${USR} is not known"},
		"a short account number": {strings.Replace(good, `account: "111122223333"`, `account: "42"`, 1), "not twelve digits"},
		"no administrator":       {strings.Replace(good, "admin: true", "admin: false", 1), "exactly one is the administrator"},
		"a path for a file":      {strings.Replace(good, "env: env.admin", "env: ../env", 1), "not a file name"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := account.Parse([]byte(c.text), vars)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
}

func TestSec_AVariableCannotWriteYAML(t *testing.T) {
	evil := map[string]string{"USER": `eve", "root`, "STATE": "/s", "API": "a", "PROXY": "p"}
	if _, err := account.Load("../account.yaml", evil); err == nil || !strings.Contains(err.Error(), "can't be written in YAML") {
		t.Errorf("error %v", err)
	}
}
