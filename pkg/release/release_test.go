package release_test

import (
	"runtime/debug"
	"testing"

	"github.com/stile-dev/stile/pkg/release"
)

func TestAVersionIsTheMostThatTheBuildKnows(t *testing.T) {
	info := func(version, revision string) *debug.BuildInfo {
		return &debug.BuildInfo{Main: debug.Module{Version: version}, Settings: []debug.BuildSetting{{Key: "vcs", Value: "git"}, {Key: "vcs.revision", Value: revision}}}
	}
	for name, k := range map[string]struct {
		given string
		info  *debug.BuildInfo
		want  string
	}{
		"what the build was given":  {"1.2.3", info("v0.9.0", "abc"), "1.2.3"},
		"the module's":              {"", info("v0.9.0", "abc"), "v0.9.0"},
		"the commit":                {"", info("(devel)", "abc"), "abc"},
		"the commit, of older Go":   {"", info("", "abc"), "abc"},
		"nothing":                   {"", info("(devel)", ""), "devel"},
		"a program without records": {"", nil, "devel"},
	} {
		if got := release.Of(k.given, k.info); got != k.want {
			t.Errorf("%s: %q, want %q", name, got, k.want)
		}
	}
	if release.Version() == "" {
		t.Error("this test is of no version")
	}
}
