package cost

import (
	"flag"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write docs/cost.md")

const root = "../.."

func TestTheDocumentIsWhatTheTemplatesCost(t *testing.T) {
	got, err := Document(root)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(root, "docs/cost.md")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("docs/cost.md is out of date; go test ./scripts/cost -update writes it (-committed +derived):\n%s", diff)
	}
}

func TestWhatNobodyHasPricedIsRefused(t *testing.T) {
	f, err := read(root)
	if err != nil {
		t.Fatal(err)
	}
	f.count = maps.Clone(f.count)
	f.count["AWS::EC2::NatGateway"] = 1
	if err := complete(f); err == nil || !strings.Contains(err.Error(), "AWS::EC2::NatGateway") {
		t.Errorf("got %v", err)
	}
	for name, r := range map[string]resource{
		"an endpoint by the hour": {"AWS::EC2::VPCEndpoint", map[string]any{"VpcEndpointType": "Interface"}},
		"a table by the hour":     {"AWS::DynamoDB::Table", map[string]any{"BillingMode": "PROVISIONED"}},
	} {
		if err := f.note(r); err == nil {
			t.Errorf("%s counts as if it weren't", name)
		}
	}
}

func TestAnAlarmIsBilledByWhatItReads(t *testing.T) {
	stat := map[string]any{"MetricStat": map[string]any{}}
	sum, query := map[string]any{"Expression": "m0 + m1"}, map[string]any{"Expression": "SELECT SUM(Errors)"}
	for name, c := range map[string]struct {
		metrics any
		want    float64
	}{
		"one metric":   {nil, 1},
		"a sum of two": {[]any{stat, stat, sum}, 2},
		"a query":      {[]any{query}, 1},
	} {
		f := facts{count: map[string]int{}}
		if err := f.note(resource{"AWS::CloudWatch::Alarm", map[string]any{"Metrics": c.metrics}}); err != nil {
			t.Fatal(err)
		}
		if got := alarms(f, ""); len(got) != 2 || got[0].price != "alarm" || got[0].quantity != c.want {
			t.Errorf("%s is billed as %v", name, got)
		}
	}
}

func TestSumsFollowWhatIsThere(t *testing.T) {
	f, err := read(root)
	if err != nil {
		t.Fatal(err)
	}
	idle := scenario{}.bill(f)
	more := f
	more.count = maps.Clone(f.count)
	more.count["AWS::KMS::Key"]++
	more.proxies++
	got := scenario{}.bill(more)
	if d := got["key"] - idle["key"]; d < 0.999 || d > 1.001 {
		t.Errorf("a key more costs %.2f", d)
	}
	for _, name := range []string{"processor", "memory", "public address", "write unit", "read unit"} {
		if got[name] <= idle[name] {
			t.Errorf("a proxy more costs nothing by %s", name)
		}
	}
	// Below a GB an hour a balancer takes one unit; above it, one for each GB.
	if small, large := (scenario{engineers: 100}).bill(f), (scenario{engineers: 2000}).bill(f); small["balancer capacity"] != idle["balancer capacity"] ||
		large["balancer capacity"] <= 3*idle["balancer capacity"] {
		t.Errorf("capacity costs %.2f idle, %.2f for 100 and %.2f for 2,000 engineers", idle["balancer capacity"], small["balancer capacity"], large["balancer capacity"])
	}
	flood := scenario{flood: f.openRate}.bill(f)
	if f.openRoutes != 5 || f.challengeRoutes != 2 || flood["mac"] != idle["mac"] || flood["signature"] != idle["signature"] {
		t.Errorf("a flood of %d routes, %d of them of challenges, costs %v", f.openRoutes, f.challengeRoutes, flood)
	}
	if twice := (scenario{flood: 2 * f.openRate}).bill(f); sum(twice)-sum(idle) < 1.99*(sum(flood)-sum(idle)) {
		t.Errorf("twice the flood costs %.0f instead of %.0f", sum(twice), sum(flood))
	}
	for i := 1; i < len(scenarios); i++ {
		if sum(scenarios[i].bill(f)) <= sum(scenarios[i-1].bill(f)) {
			t.Errorf("%s costs no more than %s", scenarios[i].name, scenarios[i-1].name)
		}
	}
}
