package app_test

import (
	"strings"
	"testing"

	"github.com/stile-dev/stile/pkg/app"
	"github.com/stile-dev/stile/pkg/names"
)

func TestAllThatIsMissingIsReportedAtOnce(t *testing.T) {
	set := map[string]string{names.EnvCluster: "c", names.EnvBootstrapAdmin: "{", names.EnvFleetRole: `{"account":"1","role":"R"}`}
	env := app.NewEnvironment(func(name string) string { return set[name] })
	env.Need(names.EnvCluster)
	env.Need(names.EnvTableState)
	env.Key(names.KeyUserSSH)
	env.Match(names.EnvBootstrapAdmin)
	env.Match(names.EnvFleetRole)
	err := env.Err()
	if err == nil {
		t.Fatal("nothing is missing")
	}
	for _, name := range []string{names.EnvTableState, "STILE_KEY_USER_SSH", names.EnvBootstrapAdmin, names.EnvFleetRole} {
		if !strings.Contains(err.Error(), name) {
			t.Errorf("%q doesn't name %s", err, name)
		}
	}
	if strings.Contains(err.Error(), names.EnvCluster) {
		t.Errorf("%q names what is set", err)
	}
}
