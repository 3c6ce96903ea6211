package audit_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/resource"
)

// writer is what a function writes: of which types, and as whom. Also says keys that aren't literals there.
type writer struct {
	types []audit.Type
	by    []string
	also  []string
}

var (
	joins = []audit.Type{
		audit.AgentJoin, audit.AgentJoinRefused, audit.AgentQuarantined, audit.AgentRenew, audit.ProxyJoin, audit.AgentCopied, audit.AgentUnjudged,
	}
	refusedJoins = []audit.Type{audit.AgentJoinRefused, audit.AgentQuarantined, audit.AgentCopied}
	changes      = []audit.Type{audit.ResourceCreated, audit.ResourceUpdated, audit.ResourceDeleted}
)

func wrote(by string, types ...audit.Type) writer { return writer{types: types, by: []string{by}} }

// writers are the functions that begin events or give them data, by file and name.
var writers = map[string]writer{
	"agent/serve/refusal.go accept":                 wrote("agent", audit.DocumentRefused),
	"agent/serve/stale.go look":                     wrote("agent", audit.DocumentsStale, audit.DocumentsFresh),
	"agent/serve/record.go recorded":                wrote("agent", audit.RecordingChunk, audit.RecordingEnd, audit.RecordingDamaged, audit.SessionEnd),
	"agent/session/denial.go counted":               wrote("agent", audit.SessionDenialsCounted),
	"agent/session/event.go event":                  {sessions, []string{"agent"}, uses()},
	"agent/session/event.go describe":               wrote("agent", audit.SessionStart, audit.SessionDenied),
	"agent/session/event.go fit":                    wrote("agent", append(sessions, audit.SessionDenialsCounted)...),
	"agent/session/event.go command":                wrote("agent", audit.SessionStart),
	"agent/session/resize.go tell":                  wrote("agent", audit.SessionResize, audit.SessionEnd),
	"agent/session/session.go Start":                wrote("agent", audit.SessionStart),
	"agent/session/session.go End":                  wrote("agent", audit.SessionEnd),
	"agent/decide/decide.go Details":                wrote("agent", audit.SessionDenied),
	"agent/sshd/channel.go start":                   wrote("agent", audit.SessionStart),
	"agent/sshd/channel.go run":                     wrote("agent", audit.SessionEnd),
	"agent/inner/inner.go admit":                    wrote("agent", audit.SessionStart),
	"integration/echo/main.go echo":                 wrote("agent", audit.SessionEnd),
	"proxy/connect/connect.go denied":               wrote("proxy", audit.SessionDenied),
	"proxy/connect/connect.go full":                 wrote("proxy", audit.LimitReached),
	"proxy/link/copies.go copied":                   wrote("proxy", audit.AgentCopied),
	"proxy/link/tunnels.go limited":                 wrote("proxy", audit.LimitReached),
	"proxy/feed/events.go Refused":                  wrote("proxy", audit.DocumentRefused),
	"proxy/feed/events.go Limited":                  wrote("proxy", audit.LimitReached),
	"pkg/admin/desk.go event":                       wrote("function/admin", append(changes, audit.RequestRefused)...),
	"pkg/admin/change.go commit":                    wrote("function/admin", changes...),
	"pkg/query/query.go event":                      wrote("function/query", audit.LakeQueried, audit.LakeRead, audit.RequestRefused),
	"pkg/query/query.go describe":                   wrote("function/query", audit.LakeQueried),
	"pkg/admin/picture.go pictures":                 {changes, []string{"function/admin"}, []string{"before", "before_sha256", "after", "after_sha256"}},
	"pkg/admin/revoke.go revoke":                    wrote("function/admin", changes...),
	"pkg/document/publication/publish.go tell":      wrote("function/publish", audit.PolicyPublished),
	"pkg/document/publication/revoke.go event":      wrote("function/publish", audit.PolicyPublished, audit.ListCoarsened),
	"pkg/document/publication/revoke.go tellCoarse": wrote("function/publish", audit.ListCoarsened),
	"pkg/document/publication/rotate.go tell":       {[]audit.Type{audit.TrustPublished}, []string{"function/rotate"}, keysOfTrust()},
	"pkg/issue/event.go event":                      wrote("function/sign-user", audit.UserLogin, audit.UserLoginRefused),
	"pkg/issue/event.go explain":                    {append(refusedJoins, audit.UserLoginRefused), nil, nil},
	"pkg/issue/iam.go Authenticate":                 wrote("function/sign-user", audit.UserLogin, audit.UserLoginRefused),
	"pkg/issue/host.go event":                       wrote("function/sign-host", joins...),
	"pkg/issue/copy.go unrenewed":                   wrote("function/sign-host", audit.AgentCopied),
	"pkg/issue/epoch.go pass":                       wrote("function/sign-host", audit.AgentUnjudged),
	"pkg/archive/read.go Read":                      wrote("function/recording", audit.RecordingRead),
	"pkg/archive/read.go event":                     wrote("function/recording", audit.RecordingRead, audit.RequestRefused),
	"pkg/archive/sweep.go tell":                     wrote("function/sweep", audit.RecordingAbandoned, audit.SessionEnd),
	"pkg/archive/missing.go tell":                   wrote("function/sweep", audit.RecordingMissing),
	"pkg/ledger/gap/tell.go event":                  wrote("function/sweep", audit.LedgerGap),
	"pkg/tally/settle.go event":                     wrote("function/sweep", audit.SigningUnclaimed),
	"pkg/tally/hour.go event":                       wrote("function/sweep", audit.SigningUnrecorded),
	"pkg/ledger/compare/tell.go tell":               wrote("function/sweep", audit.LakeMissing, audit.LakeForeign),
	"pkg/ledger/compare/tell.go event":              wrote("function/sweep", audit.LakeMissing, audit.LakeForeign),
	"pkg/ledger/canary/event.go event":              wrote("function/sweep", audit.EvidenceCanary),
	"pkg/checked/checked.go Event":                  wrote("function/sweep", audit.EvidenceChecked),
}

var sessions = []audit.Type{audit.SessionStart, audit.SessionEnd, audit.SessionDenied, audit.SessionResize}

// uses are what sessions name beside their targets, of all kinds.
func uses() (all []string) {
	for _, k := range resource.TargetKinds {
		for _, u := range k.Uses {
			all = append(all, u.Name)
		}
	}
	return all
}

func keysOfTrust() (all []string) {
	for _, purpose := range []string{names.KeyRoot, names.KeyPolicy, names.KeyUserSSH, names.KeyUserX509, names.KeyHostSSH, names.KeyHostX509} {
		for _, state := range []string{document.StateNext, document.StateActive, document.StateRetiring} {
			all = append(all, purpose+"."+state)
		}
	}
	return all
}

// dynamic are the keys that aren't literals, as they are written.
var dynamic = map[string][]string{
	"agent/session/event.go event":            {"use.Name"},
	"agent/session/event.go describe":         {"name"}, // what is added by name there
	"pkg/admin/picture.go pictures":           {"name", `name+"_sha256"`},
	"pkg/document/publication/rotate.go tell": {`k.Purpose+"."+k.State`},
}

// TestTheTableHasTheKeysThatCodeWritesAndNoOthers reads the source: a function may only set data keys that the table lists for the
// types of events it writes, and each key in the table must be set somewhere, or be marked as kept for old events.
func TestTheTableHasTheKeysThatCodeWritesAndNoOthers(t *testing.T) {
	found := written(t)
	for at := range writers {
		if _, ok := found[at]; !ok {
			t.Errorf("%s begins no event and gives none data: take it out of writers", at)
		}
	}
	has, by := map[audit.Type]map[string]bool{}, map[audit.Type]map[string]bool{}
	for at, keys := range found {
		w, ok := writers[at]
		if !ok {
			t.Errorf("%s writes events with %q: put it into writers", at, keys)
			continue
		}
		keys = slices.DeleteFunc(keys, func(key string) bool {
			return slices.Contains(dynamic[at], strings.TrimPrefix(key, "?")) && key[0] == '?'
		})
		for _, key := range append(keys, w.also...) {
			if !slices.ContainsFunc(w.types, func(of audit.Type) bool { f, ok := audit.Types[of].Field(key); return ok && !f.Kept }) {
				t.Errorf("%s gives events %q, which none of %v has in the table", at, key, w.types)
			}
		}
		for _, of := range w.types {
			if has[of] == nil {
				has[of], by[of] = map[string]bool{}, map[string]bool{}
			}
			for _, key := range append(keys, w.also...) {
				has[of][key] = true
			}
			for _, name := range w.by {
				by[of][name] = true
			}
		}
	}
	for of, row := range audit.Types {
		for _, f := range row.Fields {
			if f.Kept == has[of][f.Name] {
				t.Errorf("%s has %s in the table, kept for readers: %v; code writes it: %v", of, f.Name, f.Kept, has[of][f.Name])
			}
			if f.Kept && f.Always {
				t.Errorf("%s: %s is of before and still always there", of, f.Name)
			}
		}
		if want := slices.Sorted(maps.Keys(by[of])); !slices.Equal(slices.Sorted(slices.Values(row.By)), want) {
			t.Errorf("%s is written by %v, and the table says %v", of, want, row.By)
		}
	}
}

// written finds the functions that begin events or give them data, with the keys; what isn't a literal begins with ?.
func written(t *testing.T) map[string][]string {
	t.Helper()
	root, all := "../..", map[string][]string{}
	for _, dir := range []string{"agent", "proxy", "functions", "pkg", "integration/echo"} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || strings.Contains(path, "storetest") {
				return err
			}
			rel, err := filepath.Rel(root, path)
			if err == nil {
				err = scan(path, rel, all)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all
}

func scan(path, name string, all map[string][]string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, path, text, 0)
	if err != nil {
		return err
	}
	source := func(n ast.Node) string {
		return string(text[set.Position(n.Pos()).Offset:set.Position(n.End()).Offset])
	}
	key := func(e ast.Expr) string {
		if l, ok := e.(*ast.BasicLit); ok && l.Kind == token.STRING {
			if s, err := strconv.Unquote(l.Value); err == nil {
				return s
			}
		}
		return "?" + source(e)
	}
	// What carries data: a field or variable of that name, and what a decision's details are collected in.
	carries := func(e ast.Expr) bool {
		switch e := e.(type) {
		case *ast.SelectorExpr:
			return e.Sel.Name == "Data"
		case *ast.Ident:
			return e.Name == "data" || e.Name == "out" && strings.HasSuffix(name, "decide.go")
		}
		return false
	}
	for _, decl := range file.Decls {
		f, ok := decl.(*ast.FuncDecl)
		if !ok || f.Body == nil {
			continue
		}
		at := name + " " + f.Name.Name
		add := func(keys ...string) { all[at] = append(all[at], keys...) } // of no keys, it still says that the function is one
		literal := func(e ast.Expr) {
			if m, ok := e.(*ast.CompositeLit); ok && m.Type != nil && source(m.Type) == "map[string]string" {
				add()
				for _, el := range m.Elts {
					add(key(el.(*ast.KeyValueExpr).Key))
				}
			}
		}
		ast.Inspect(f.Body, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.AssignStmt:
				for i, l := range n.Lhs {
					if x, ok := l.(*ast.IndexExpr); ok && carries(x.X) {
						add(key(x.Index))
					}
					if carries(l) && i < len(n.Rhs) {
						literal(n.Rhs[i])
					}
				}
			case *ast.KeyValueExpr:
				if id, ok := n.Key.(*ast.Ident); ok && id.Name == "Data" {
					literal(n.Value)
				}
			case *ast.CallExpr:
				switch called := source(n.Fun); {
				case called == "audit.New":
					add()
				case strings.HasSuffix(called, ".Start") && len(n.Args) > 0:
					literal(n.Args[0])
				case called == "add" && strings.HasPrefix(name, "agent/session/"):
					add(key(n.Args[0]))
				}
			}
			return true
		})
	}
	return nil
}
