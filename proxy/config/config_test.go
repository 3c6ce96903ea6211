package config_test

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/proxy/config"
)

var whole = map[string]string{
	names.EnvCluster: "0b5f9f1e", names.EnvAPI: "https://api.example.com/prod", names.EnvPublicAddr: "stile.example.com:443", names.EnvListen: ":8443",
	names.EnvTableState: "state", names.EnvTablePresence: "presence", names.EnvTableLedger: "ledger", names.EnvBucketDocuments: "documents",
	names.EnvLinger: "110", names.EnvProxyProtocol: "10.0.0.0/16, 10.1.2.3/16,",
}

// read reads the whole environment with one variable changed.
func read(name, value string) (config.Config, error) {
	env := maps.Clone(whole)
	env[name] = value
	return config.Read(func(name string) (string, bool) { v, ok := env[name]; return v, ok })
}

func TestAnEnvironmentIsReadWhole(t *testing.T) {
	got, err := read(names.EnvListen, ":8443")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(config.Config{
		Cluster: "0b5f9f1e", API: "https://api.example.com/prod", PublicAddr: "stile.example.com:443", Listen: ":8443",
		Proxied: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/16"), netip.MustParsePrefix("10.1.0.0/16")},
		State:   "state", Presence: "presence", Ledger: "ledger", Documents: "documents", Linger: config.DrainLimit,
	}, got, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); d != "" {
		t.Error(d)
	}
}

func TestEveryVariableButTheNetworksIsNeeded(t *testing.T) {
	for name := range whole {
		_, err := read(name, "")
		if name == names.EnvProxyProtocol {
			if err != nil {
				t.Errorf("without %s: %v", name, err)
			}
			continue
		}
		if !fault.Is(err, fault.BadInput) || !strings.Contains(fault.From(err).Message, name+" not set") {
			t.Errorf("without %s: %v", name, err)
		}
	}
}

func TestAllFaultsAreReportedAtOnce(t *testing.T) {
	_, err := config.Read(func(string) (string, bool) { return "", false })
	if f := fault.From(err); len(f.Fields) != len(whole)-1 {
		t.Errorf("%+v", f.Fields)
	}
}

func TestAValueThatCanNotBeUsedIsRefused(t *testing.T) {
	for name, values := range map[string][]string{
		names.EnvAPI:           {"http://api.example.com", "api.example.com", "https://", "https://a b"},
		names.EnvPublicAddr:    {"stile.example.com", "a:b:c"},
		names.EnvLinger:        {"-1", "111", "1m", "0x10", "1.5", "99999999999999999999"},
		names.EnvProxyProtocol: {"10.0.0.1", "10.0.0.0/16 10.1.0.0/16", "everybody"},
	} {
		for _, value := range values {
			_, err := read(name, value)
			if f := fault.From(err); !fault.Is(err, fault.BadInput) || !slices.ContainsFunc(f.Fields, func(x fault.Field) bool { return x.Path == name }) {
				t.Errorf("%s=%s: %v", name, value, err)
			}
		}
	}
}

// It is the one place that a stranger's bytes are handed on to.
func TestTheAPIsHostHasAPort(t *testing.T) {
	for url, want := range map[string]string{"https://api.example.com/prod": "api.example.com:443", "https://127.0.0.1:9011": "127.0.0.1:9011", "https://[::1]/": "[::1]:443"} {
		if got := (config.Config{API: url}).APIHost(); got != want {
			t.Errorf("%s: %s", url, got)
		}
	}
}
