package layout

import (
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
)

// code is a package that only a function with a right, or with an API, may contain.
type code struct {
	dir    string
	right  *regexp.Regexp // a row of who-may.txt without the function's name; nil: an operation in openapi.yaml
	reason string
}

func right(row string) *regexp.Regexp { return regexp.MustCompile(`(?m)^` + row) }

// codes lists them. IAM limits what a function may do, and so does its code, each by itself.
var codes = []code{
	{"pkg/api", nil, "it has no operation in openapi.yaml"},
	{"pkg/operation", nil, "it has no operation in openapi.yaml"},
	{"pkg/issue", right(`item ledger issuance#`), "it writes down no issuance, so it issues nothing"},
	{"pkg/store/issuance", right(`item ledger issuance#`), "it writes down no issuance, so it issues nothing"},
	{"pkg/sts", right(`item ledger issuance#`), "it issues nothing, so it judges no evidence"},
	{"pkg/admin", right(`item secrets nonce#`), "it writes no resource"},
	{"pkg/store/change", right(`item secrets nonce#`), "it writes no resource"},
	{"pkg/document/publication", right(`object documents/\S+ .*PutObject`), "it publishes no document"},
	{"pkg/trigger", right(`(object documents/\S+ .*PutObject|function publish)`), "it neither publishes nor has anything published"},
	{"pkg/store", right(`item state (agent|iam_mapping|input|lock|role|target#\*|token|user)`), "it has nothing to look for in table state"},
	{"pkg/document/head", right(`object documents/`), "it reads no document"},
	{"pkg/ledger", right(`item ledger event#`), "it writes no event"},
	{"pkg/presence", right(`item presence`), "it may not see who is there"},
	{"pkg/rate", right(`item ((presence|secrets) arrival|presence brought)#`), "it counts neither arrivals nor what agents bring"},
	{"pkg/kms", right(`key `), "it may use no key"},
	{"pkg/kms/signer", right(`key \S+ (\S+ )*Sign\b`), "it may sign with no key"},
	{"pkg/kms/mac", right(`key \S+ (\S+ )*GenerateMac\b`), "it may derive no key of challenges"},
	{"pkg/invoke", right(`function `), "it may call no function"},
	{"pkg/registry", right(`image \S+ (\S+ )*PutImage\b`), "it pushes no image"},
	{"pkg/athena", right(`athena `), "it asks the lake nothing"},
	{"pkg/recent", right(`athena `), "it asks the lake nothing"},
	{"pkg/tally", right(`queue \S+ (\S+ )*ReceiveMessage\b`), "it takes nothing out of a queue"},
	{"pkg/relay", right(`events `), "it puts nothing on the bus"},
	{"pkg/front", right(`function sign-`), "it hands nothing to a signer"},
}

// function is one of functions/, with what it may do.
type function struct {
	name   string
	rights string
	serves bool
}

func (t *Tree) function(name string) function { return function{name, t.rights(name), t.serves(name)} }

// holds reports whether the function may contain the code.
func (f function) holds(c code) bool {
	if c.right == nil {
		return f.serves
	}
	return c.right.MatchString(f.rights)
}

// codeOf returns the rule about a package: its own, or else that of the nearest package above it.
func codeOf(dir string) (code, bool) {
	for ; dir != "."; dir = path.Dir(dir) {
		for _, c := range codes {
			if c.dir == dir {
				return c, true
			}
		}
	}
	return code{}, false
}

// apart: a function contains no code for what its role may not do, however indirectly.
func (t *Tree) apart(p *Package) []Violation {
	name, ok := strings.CutPrefix(p.Dir, "functions/")
	if !ok || p.Name != "main" {
		return nil
	}
	f := t.function(name)
	out := f.outside(p, "")
	reached := t.reach(p.Dir)
	for _, dir := range slices.Sorted(maps.Keys(reached)) {
		by := fmt.Sprintf(" (it comes by %s)", reached[dir])
		if c, found := codeOf(dir); found && !f.holds(c) {
			out = append(out, Violation{p.Dir, Module + "/" + dir, c.reason + by})
		}
		if q := t.Packages[dir]; q != nil {
			out = append(out, f.outside(q, fmt.Sprintf(" (functions/%s contains it)", name))...)
		}
	}
	return append(out, assembly(p)...)
}

// rights are a function's rows of infra/testdata/who-may.txt, without its name and with single blanks.
func (t *Tree) rights(function string) string {
	text, err := os.ReadFile(filepath.Join(t.Root, "infra/testdata/who-may.txt"))
	if err != nil {
		return "" // no right, so nothing is allowed
	}
	var rows strings.Builder
	for line := range strings.Lines(string(text)) {
		if words := strings.Fields(line); len(words) > 1 && words[0] == function {
			rows.WriteString(strings.Join(words[1:], " ") + "\n")
		}
	}
	return rows.String()
}

// serves reports whether openapi.yaml has an operation with the function's tag.
func (t *Tree) serves(function string) bool {
	text, err := os.ReadFile(filepath.Join(t.Root, "openapi.yaml"))
	if err != nil {
		return false
	}
	var api struct {
		Paths map[string]map[string]any `yaml:"paths"`
	}
	if err := yaml.Unmarshal(text, &api); err != nil {
		return false // nothing in it can be relied on
	}
	for _, item := range api.Paths {
		for _, operation := range item {
			fields, _ := operation.(map[string]any)
			if tags, _ := fields["tags"].([]any); slices.Contains(tags, any(function)) {
				return true
			}
		}
	}
	return false
}
