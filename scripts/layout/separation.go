package layout

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
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
	{"pkg/kms", right(`key `), "it may use no key"},
	{"pkg/invoke", right(`function `), "it may call no function"},
	{"pkg/front", right(`function sign-`), "it hands nothing to a signer"},
}

// apart: a function contains no code for what its role may not do, however indirectly.
func (t *Tree) apart(p *Package) []Violation {
	name, ok := strings.CutPrefix(p.Dir, "functions/")
	if !ok || p.Name != "main" {
		return nil
	}
	rights, served := t.rights(name), t.serves(name)
	var out []Violation
	reached := t.reach(p.Dir)
	for _, dir := range slices.Sorted(maps.Keys(reached)) {
		for _, c := range codes {
			// The packages below a named one have their own rows where that matters.
			if dir != c.dir && (c.dir != "pkg/operation" || !under(dir, c.dir)) {
				continue
			}
			if may := c.right == nil && served || c.right != nil && c.right.MatchString(rights); !may {
				out = append(out, Violation{p.Dir, Module + "/" + dir, fmt.Sprintf("%s (it comes by %s)", c.reason, reached[dir])})
			}
		}
	}
	return out
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
	return err == nil && strings.Contains(string(text), "tags: ["+function+"]")
}
