package layout

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
)

// rowOf says which row a package of pkg/ is in; imports go down or stay. A new package gets its row here.
var rowOf = map[string]int{}

func init() {
	for row, list := range []string{
		"names fault escape release",
		"wire frame identity resource policy certs document audit audit/ocsf audit/arrival signature strict proof ration vouch image recording checked query/named query/statement query/holding",
		"issue front inventory admin archive document/publication query",
		"table store kms sts answer invoke custom trigger document/head document/shelf presence rate ledger api operation client tunnel prover joiner entry canary metric asset registry stock durable bucket bucket/lend recorded relay athena recent checked/book tally",
		"app",
	} {
		for name := range strings.FieldsSeq(list) {
			rowOf[name] = row
		}
	}
}

// meaning says why a row may not import what is above it.
var meaning = []string{
	"row 0 imports the standard library alone",
	"row 1 is pure: values in, values out",
	"row 2 holds use cases, which declare the interfaces that they need",
	"row 3 holds adapters, which know the outside but not how things are put together",
	"row 4 puts things together",
}

// row gives the row of a package of pkg/, which is its own or that of the nearest one above it.
func row(dir string) (int, bool) {
	name, ok := strings.CutPrefix(dir, "pkg/")
	if !ok {
		return 0, false
	}
	for ; name != "."; name = path.Dir(name) {
		if r, known := rowOf[name]; known {
			return r, true
		}
	}
	return 0, false
}

// rows: imports inside pkg go down, and nothing in pkg imports a program.
func (t *Tree) rows(p *Package) []Violation {
	if !under(p.Dir, "pkg") {
		return nil
	}
	from, known := row(p.Dir)
	if !known {
		return []Violation{{p.Dir, "no row", "every package of pkg has a row: give it one in scripts/layout/rules.go and in CONTRIBUTING.md"}}
	}
	var out []Violation
	for _, to := range p.Imports {
		dir, ours := folder(to)
		switch {
		case from == 0 && !standard(to):
			out = append(out, Violation{p.Dir, to, meaning[0]})
		case !ours:
		case !under(dir, "pkg"):
			out = append(out, Violation{p.Dir, to, "pkg knows no program"})
		default:
			if r, known := row(dir); known && r > from {
				out = append(out, Violation{p.Dir, to, fmt.Sprintf("%s is in row %d; %s", dir, r, meaning[from])})
			}
		}
	}
	return out
}

// impure are what a pure package does not import, with the reason.
var impure = map[string]string{
	"net/http": "it speaks no protocol",
	"os":       "it reads no environment and no file",
	"os/exec":  "it starts no process",
	"log":      "it logs nothing",
	"log/slog": "it logs nothing",
}

// clock are the functions of package time that read the clock or wait.
var clock = []string{"Now", "Since", "Until", "After", "AfterFunc", "NewTimer", "NewTicker", "Tick", "Sleep"}

// pure: row 1 imports nothing that reaches out and reads no clock; row 2 knows neither AWS nor HTTP.
func (t *Tree) pure(p *Package) []Violation {
	at, known := row(p.Dir)
	if !known || at > 2 {
		return nil
	}
	var out []Violation
	for _, to := range p.Imports {
		switch {
		case strings.HasPrefix(to, "github.com/aws/"):
			out = append(out, Violation{p.Dir, to, meaning[at] + ": it knows no AWS"})
		case at <= 1 && impure[to] != "", to == "net/http":
			out = append(out, Violation{p.Dir, to, meaning[at] + ": " + impure[to]})
		}
	}
	if at <= 1 {
		for _, f := range p.Files {
			for _, use := range f.uses("time", clock) {
				out = append(out, Violation{use.at, "time." + use.name, meaning[at] + ": time is a parameter"})
			}
		}
	}
	return out
}

// control are the packages inside the control plane; what runs elsewhere must not even contain their code.
var control = []string{
	"pkg/issue", "pkg/front", "pkg/admin", "pkg/document/publication", "pkg/inventory",
	"pkg/store", "pkg/rate", "pkg/kms", "pkg/sts", "pkg/answer", "pkg/invoke", "pkg/custom", "pkg/trigger", "pkg/api", "pkg/operation", "pkg/app",
	"pkg/athena", "pkg/registry", "pkg/image", "pkg/asset", "pkg/stock",
}

// storage are the adapters of tables and buckets; among the programs only the proxy uses them.
var storage = []string{"pkg/table", "pkg/document/head", "pkg/presence", "pkg/ledger"}

// sides: proxy, agent and cli contain no code of the control plane, however indirectly.
func (t *Tree) sides(p *Package) []Violation {
	var forbidden []string
	switch {
	case under(p.Dir, "proxy"):
		forbidden = control
	case under(p.Dir, "agent"), under(p.Dir, "cli"):
		forbidden = slices.Concat(control, storage)
	default:
		return nil
	}
	var out []Violation
	reached := t.reach(p.Dir)
	for _, dir := range slices.Sorted(maps.Keys(reached)) {
		if slices.ContainsFunc(forbidden, func(f string) bool { return under(dir, f) }) {
			reason := "a program outside of the control plane holds none of its adapters"
			if via := reached[dir]; via != p.Dir {
				reason += " (it comes by " + via + ")"
			}
			out = append(out, Violation{p.Dir, Module + "/" + dir, reason})
		}
	}
	return out
}

// reach returns every folder that dir depends on, with the folder that imports it.
func (t *Tree) reach(dir string) map[string]string {
	seen := map[string]string{}
	queue := []string{dir}
	for len(queue) > 0 {
		from := queue[0]
		queue = queue[1:]
		p := t.Packages[from]
		if p == nil {
			continue
		}
		for _, to := range p.Imports {
			next, ours := folder(to)
			if !ours || seen[next] != "" {
				continue
			}
			seen[next] = from
			queue = append(queue, next)
		}
	}
	return seen
}

// parts are the top folders whose code is separate from the others.
var parts = []string{"functions", "proxy", "agent", "cli", "localstack", "integration", "infra", "scripts"}

func part(dir string) string {
	top, _, _ := strings.Cut(dir, "/")
	if slices.Contains(parts, top) {
		return top
	}
	return ""
}

// borders: the parts don't know each other; localstack doesn't know the product, nor the product localstack.
func (t *Tree) borders(p *Package) []Violation {
	from := part(p.Dir)
	var out []Violation
	for _, to := range p.Imports {
		dir, ours := folder(to)
		if !ours {
			continue
		}
		switch {
		case from == "localstack" && !under(dir, "localstack"):
			out = append(out, Violation{p.Dir, to, "the local AWS is a judge of the product and shares no code with it"})
		case from != "localstack" && under(dir, "localstack"):
			out = append(out, Violation{p.Dir, to, "nothing knows the local AWS but itself"})
		case from == "infra" && !under(dir, "infra") && dir != "pkg/names":
			out = append(out, Violation{p.Dir, to, "the CDK app shares nothing with the product but its names"})
		case from == "functions" && under(dir, "functions"):
			out = append(out, Violation{p.Dir, to, "functions don't share code but by pkg"})
		case from == "integration" && under(dir, "agent"):
			// A test brings its own service into an agent, as a new protocol would.
		case part(dir) != "" && part(dir) != from && !under(p.Dir, "pkg"):
			out = append(out, Violation{p.Dir, to, "programs share code by pkg alone"})
		}
	}
	return out
}

// vague are words that name nothing.
var vague = strings.Fields("util utils common helper helpers types models base core manager service services misc shared lib")

// words: packages are named after things, programs are main, and each package says once what it is.
func (t *Tree) words(p *Package) []Violation {
	var out []Violation
	for word := range strings.SplitSeq(p.Dir, "/") {
		if slices.Contains(vague, word) {
			out = append(out, Violation{p.Dir, word, "the word names no thing; call the package after what it holds"})
		}
	}
	base := path.Base(p.Dir)
	if p.Name != base && p.Name != "main" && p.Dir != "." {
		out = append(out, Violation{p.Dir, "package " + p.Name, "a package is called as its folder"})
	}
	if p.Docs != 1 {
		out = append(out, Violation{p.Dir, fmt.Sprintf("%d doc comments", p.Docs), "every package has one doc comment: purpose, what it must not know, entry point"})
	}
	return out
}
