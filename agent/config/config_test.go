package config_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stile-dev/stile/agent/config"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
)

const whole = `api: https://api.example.com/prod
proxy: proxy.example.com:443
method: token
token: demo-nodes
secret_file: /etc/stile/secret
name: web-1
targets: [db/orders]
labels: {role: shell}
state: /var/lib/stile
ca_pin: wFmzsHVQ6l2Y2cM3g0v8s1y5x7t9r4q6p8n0k2j4h6E
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
		SecretFile: "/etc/stile/secret", Name: "web-1", Targets: []string{"db/orders"}, Labels: map[string]string{"role": "shell"},
		State: "/var/lib/stile", CAPin: "wFmzsHVQ6l2Y2cM3g0v8s1y5x7t9r4q6p8n0k2j4h6E", Region: "eu-central-1", TTL: "12h", Log: "debug",
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

func TestWhatTheParserStumblesOverIsRefused(t *testing.T) {
	if _, err := config.Parse([]byte("api: https://a\ntoken: t\ntargets: !mine node/a\n")); !fault.Is(err, fault.BadInput) {
		t.Errorf("got %v", err)
	}
}

func TestFaultsOfMeaningAreReportedTogether(t *testing.T) {
	_, err := config.Parse([]byte("api: http://api\nproxy: nowhere\nmethod: magic\nname: UP\ntargets: [db]\nstate: here\nca_pin: abc\nlog: loud\nttl: soon\n"))
	f := fault.From(err)
	var paths []string
	for _, field := range f.Fields {
		paths = append(paths, field.Path)
	}
	if d := cmp.Diff([]string{"api", "proxy", "method", "token", "name", "targets[0]", "state", "ca_pin", "log", "ttl"}, paths); d != "" {
		t.Error(d)
	}
}

func TestANameIsShortForANode(t *testing.T) {
	for text, want := range map[string][]identity.Target{
		"name: web-1\n":                                  {{Kind: "node", Name: "web-1"}},
		"targets: [node/web-1]\n":                        {{Kind: "node", Name: "web-1"}},
		"name: web-1\ntargets: [db/web-1, node/web-1]\n": {{Kind: "node", Name: "web-1"}, {Kind: "db", Name: "web-1"}},
		"targets: [db/orders]\n":                         {{Kind: "db", Name: "orders"}},
	} {
		c, err := config.Parse([]byte("api: https://api\ntoken: t\n" + text))
		if d := cmp.Diff(want, c.Serves()); err != nil || d != "" {
			t.Errorf("%q: %v %s", text, err, d)
		}
	}
}

// FuzzConfig: a file is refused with what to correct, or holds nothing that the agent would stumble over later.
func FuzzConfig(f *testing.F) {
	for _, seed := range []string{whole, "", "api: https://a\ntoken: t\n", "api: &a [*a]\n", "a: 1\na: 2\n", "{{{{", "\xff", "ttl: -1h\n", "targets: [node/a, x]\n", "api: http://[::1\n", "? ?", "targets: !x y\n"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := config.Parse([]byte(text))
		if err != nil {
			if f := fault.From(err); f.Code != fault.BadInput || f.Hint == "" || len(f.Message) == 0 {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		if !strings.HasPrefix(strings.ToLower(c.API), "https://") || len(c.Serves()) == 0 || c.TTL != "" && c.Life() <= 0 {
			t.Errorf("%q is taken as %+v", text, c)
		}
	})
}
