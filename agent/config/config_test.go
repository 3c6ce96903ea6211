package config_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stile-dev/stile/agent/config"
	"github.com/stile-dev/stile/pkg/fault"
)

const whole = `api: https://api.example.com/prod
proxy: proxy.example.com:443
method: token
token: demo-nodes
secret_file: /etc/stile/secret
name: web-1
labels: {role: shell}
state: /var/lib/stile
ca_pin: abc
region: eu-central-1
ttl: 12h
log: debug
`

func TestAWholeFileIsRead(t *testing.T) {
	got, err := config.Parse([]byte(whole))
	if err != nil {
		t.Fatal(err)
	}
	want := config.Config{
		API: "https://api.example.com/prod", Proxy: "proxy.example.com:443", Method: "token", Token: "demo-nodes",
		SecretFile: "/etc/stile/secret", Name: "web-1", Resources: []string{"node"}, Labels: map[string]string{"role": "shell"},
		State: "/var/lib/stile", CAPin: "abc", Region: "eu-central-1", TTL: "12h", Log: "debug",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestFaultsOfTheTextNameTheirPlace(t *testing.T) {
	for name, c := range map[string]struct{ text, at string }{
		"an unknown key":  {"api: https://a\ntokn: x\n", "line 2, column 1"},
		"a wrong type":    {"api: https://a\nlabels: [a]\n", "line 2, column 9"},
		"a doubled key":   {"api: https://a\napi: https://b\n", "line 2, column 1"},
		"unfinished YAML": {"api: {\n", "line 1"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := config.Parse([]byte(c.text))
			f := fault.From(err)
			if f.Code != fault.BadInput || !strings.Contains(f.Message, c.at) || f.Hint == "" {
				t.Errorf("got %+v", f)
			}
		})
	}
}

func TestFaultsOfMeaningAreReportedTogether(t *testing.T) {
	_, err := config.Parse([]byte("api: http://api\nproxy: nowhere\nmethod: magic\nname: UP\nresources: [db]\nstate: here\nlog: loud\nttl: soon\n"))
	f := fault.From(err)
	var paths []string
	for _, field := range f.Fields {
		paths = append(paths, field.Path)
	}
	if d := cmp.Diff([]string{"api", "proxy", "method", "token", "name", "resources[0]", "state", "log", "ttl"}, paths); d != "" {
		t.Error(d)
	}
}
