package words

import (
	"bytes"
	"go/ast"
	"go/printer"
	"go/token"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// argument is one of a call's.
type argument struct {
	index int
	kind  Kind
}

// arguments says which arguments of a call are sentences, in the order of reading.
var arguments = map[string][]argument{
	"fault.New":  {{1, Message}, {2, Hint}},
	"fault.Newf": {{2, Message}, {1, Hint}},
	"fmt.Errorf": {{0, Error}},
	"errors.New": {{0, Error}},
}

// messages says which argument of a logger's method is the message.
var messages = map[string]int{
	"Debug": 0, "Info": 0, "Warn": 0, "Error": 0, "DebugContext": 1, "InfoContext": 1, "WarnContext": 1, "ErrorContext": 1, "LogAttrs": 2,
}

// keys says which fields of a literal are sentences, and which variables are when they are assigned.
var keys = map[string]Kind{
	"Message": Message, "Hint": Hint, "Reason": Field, "Short": Help, "Long": Help, "Example": Help, "Use": Help, "Summary": Help,
}

// parsers are packages whose functions are given text to look for, not to show.
var parsers = []string{"regexp", "strings"}

// gatherer walks one file.
type gatherer struct {
	dir  string
	seen map[ast.Node]bool
	out  []Sentence
}

func sentences(dir string, f *ast.File) []Sentence {
	g := &gatherer{dir: dir, seen: map[ast.Node]bool{}}
	ast.Inspect(f, g.visit)
	return g.out
}

func (g *gatherer) visit(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.ImportSpec:
		return false
	case *ast.Field:
		if n.Tag != nil {
			g.seen[n.Tag] = true
		}
	case *ast.CallExpr:
		return g.call(n)
	case *ast.KeyValueExpr:
		if key, ok := n.Key.(*ast.Ident); ok && keys[key.Name] != "" {
			g.take(keys[key.Name], n.Value)
		}
	case *ast.AssignStmt:
		for i, left := range n.Lhs {
			if field, ok := left.(*ast.SelectorExpr); ok && keys[field.Sel.Name] != "" && len(n.Rhs) == len(n.Lhs) {
				g.take(keys[field.Sel.Name], n.Rhs[i])
			}
		}
	case *ast.BinaryExpr, *ast.BasicLit:
		g.prose(Text, n.(ast.Expr))
	}
	return true
}

// call takes the sentences among a call's arguments; it reports whether there may be others.
func (g *gatherer) call(c *ast.CallExpr) bool {
	name := source(c.Fun)
	for _, a := range arguments[name] {
		if a.index < len(c.Args) {
			g.take(a.kind, c.Args[a.index])
		}
	}
	dot := strings.LastIndexByte(name, '.')
	receiver, method := name[:max(dot, 0)], name[dot+1:]
	switch {
	case slices.Contains(parsers, receiver) && method != "Join":
		return false
	case logs(receiver):
		if i, ok := messages[method]; ok && i < len(c.Args) {
			g.take(Log, c.Args[i])
		}
	case method == "With" && len(c.Args) == 2:
		g.take(Field, c.Args[1])
	case strings.HasSuffix(receiver, "lags()") || receiver == "flag" || receiver == "flags":
		for _, arg := range c.Args[min(1, len(c.Args)):] {
			g.prose(Help, arg)
		}
	}
	return true
}

func logs(receiver string) bool {
	return receiver == "slog" || strings.HasSuffix(strings.ToLower(receiver), "log") || strings.HasSuffix(receiver, "logger")
}

// prose takes an expression that looks like a sentence.
func (g *gatherer) prose(kind Kind, e ast.Expr) {
	if text := own(render(e)); phrase.MatchString(text) && !query.MatchString(text) {
		g.take(kind, e)
	}
}

// take adds a sentence unless it was taken already, or has no word of its own.
func (g *gatherer) take(kind Kind, e ast.Expr) {
	text := render(e)
	if g.seen[e] || !word.MatchString(own(text)) {
		return
	}
	ast.Inspect(e, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.BasicLit, *ast.BinaryExpr:
			g.seen[n] = true
		case *ast.CallExpr:
			return shown(n) // what another call is given is looked at by itself
		}
		return true
	})
	g.out = append(g.out, Sentence{g.dir, kind, text})
}

var (
	word    = regexp.MustCompile(`[A-Za-z]{2}`)
	phrase  = regexp.MustCompile(`[a-z'’][,;:]? +[A-Za-z]+`)      // two words, which identifiers and paths lack
	query   = regexp.MustCompile(` = [:#]|^attribute_not_exists`) // what DynamoDB reads
	operand = regexp.MustCompile(`\{[^}]*\}`)
)

// own returns the words of a sentence without its operands.
func own(text string) string { return operand.ReplaceAllString(text, "") }

// shown reports whether a call only dresses up its first argument.
func shown(c *ast.CallExpr) bool {
	name := source(c.Fun)
	return len(c.Args) > 0 && (name == "fmt.Sprintf" || name == "jsii.String")
}

// render writes an expression as its reader sees it, with what isn't constant in braces.
func render(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.BasicLit:
		if e.Kind == token.STRING {
			text, _ := strconv.Unquote(e.Value)
			return text
		}
	case *ast.ParenExpr:
		return render(e.X)
	case *ast.BinaryExpr:
		if e.Op == token.ADD {
			return render(e.X) + render(e.Y)
		}
	case *ast.CallExpr:
		if shown(e) {
			return render(e.Args[0])
		}
	}
	return "{" + strings.Join(strings.Fields(source(e)), " ") + "}"
}

func source(n ast.Node) string {
	var out bytes.Buffer
	_ = printer.Fprint(&out, token.NewFileSet(), n) // it fails only when its writer does
	return out.String()
}
