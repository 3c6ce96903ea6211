// Package release says which build of Stile a program is, for the programs that people install. The functions and the proxy
// are told apart by their digests, and don't import it: what they are made of stays the same from commit to commit, so that
// what is unchanged is not deployed again.
//
// It must not know which program asks. Its entry point is [Version].
package release

import "runtime/debug"

// version is set by the linker, to what scripts/version prints: -ldflags '-X github.com/stile-dev/stile/pkg/release.version=…'.
var version string

// Version returns the version that the build was given, else the module's or the commit that Go recorded, else devel.
func Version() string {
	info, _ := debug.ReadBuildInfo()
	return of(version, info)
}

func of(given string, info *debug.BuildInfo) string {
	switch {
	case given != "":
		return given
	case info == nil:
		return "devel"
	case info.Main.Version != "" && info.Main.Version != "(devel)":
		return info.Main.Version
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && s.Value != "" {
			return s.Value
		}
	}
	return "devel"
}
