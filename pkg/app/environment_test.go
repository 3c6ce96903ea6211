package app_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stile-dev/stile/pkg/app"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/resource"
)

func TestAllThatIsMissingIsReportedAtOnce(t *testing.T) {
	set := map[string]string{names.EnvCluster: "c", names.EnvBootstrapAdmin: "{", names.EnvFleetRole: `{"account":"1","role":"R"}`}
	env := app.NewEnvironment(func(name string) string { return set[name] })
	env.Need(names.EnvCluster)
	env.Need(names.EnvTableState)
	env.Key(names.KeyUserSSH)
	env.Match(names.EnvBootstrapAdmin) // read as any other identity
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

func TestAWrongAdministratorIsAnsweredAndNotCollected(t *testing.T) {
	for raw, code := range map[string]fault.Code{"": "", `{"account":"111122223333","role":"R"}`: "", `{"account":"111122223333","role":"R","x":1}`: fault.Internal} {
		env := app.NewEnvironment(func(string) string { return raw })
		m, err := env.Administrator()
		if env.Err() != nil || (err == nil) != (code == "") || err != nil && (!fault.Is(err, code) || m != (resource.IAMMatch{})) {
			t.Errorf("%s: %+v, %v; collected %v", raw, m, err, env.Err())
		}
		if err != nil && strings.Contains(fault.From(err).Message+fault.From(err).Hint, "111122223333") {
			t.Errorf("%s: a stranger is told %q", raw, err)
		}
		if err != nil && !strings.Contains(fmt.Sprint(errors.Unwrap(err)), "BootstrapAdmin") {
			t.Errorf("%s: the log isn't told why: %v", raw, errors.Unwrap(err))
		}
	}
}

func TestANumberIsWholeAndAtLeastOne(t *testing.T) {
	for raw, want := range map[string]uint64{"1": 1, "999": 999, "": 0, "0": 0, "-1": 0, "1.5": 0, "two": 0, "65536": 0} {
		env := app.NewEnvironment(func(string) string { return raw })
		n := env.Number(names.EnvEpoch)
		if (env.Err() == nil) != (want > 0) || want > 0 && n != want {
			t.Errorf("%q: %d, %v", raw, n, env.Err())
		}
		if err := env.Err(); err != nil && !strings.Contains(err.Error(), names.EnvEpoch) {
			t.Errorf("%q doesn't name the variable", err)
		}
	}
}
