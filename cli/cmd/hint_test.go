package cmd_test

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stile-dev/stile/cli/cmd"
)

var (
	named = regexp.MustCompile(`(?:^|[^/\w.-])stile ([a-z]+)([^,;:|"\n]*)`)
	flags = regexp.MustCompile(`--[a-z-]+`)
)

// prose are words behind the name that make a sentence of it, not a command.
var prose = []string{"or", "by", "is", "was", "to", "in", "for", "does", "runs", "makes", "below"}

// TestNoHintNamesACommandThatDoesNotExist reads every text of the product's code: what it tells people to type must be there.
func TestNoHintNamesACommandThatDoesNotExist(t *testing.T) {
	found := 0
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && strings.HasPrefix(d.Name(), ".") && d.Name() != ".." {
			return fs.SkipDir
		}
		if filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		for _, text := range texts(t, path) {
			for _, m := range named.FindAllStringSubmatch(text, -1) {
				if !slices.Contains(prose, m[1]) {
					found++
					typable(t, path, whole(t, m[1], m[2]), flags.FindAllString(m[2], -1))
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if found < 40 {
		t.Errorf("only %d commands were found: this test looks in the wrong place", found)
	}
}

// texts are the string literals of a file.
func texts(t *testing.T, path string) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	ast.Inspect(file, func(n ast.Node) bool {
		if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			if text, err := strconv.Unquote(lit.Value); err == nil {
				out = append(out, text)
			}
		}
		return true
	})
	return out
}

// whole is the command with its own subcommand behind it, if that is what follows.
func whole(t *testing.T, command, rest string) string {
	t.Helper()
	if words := strings.Fields(rest); len(words) > 0 && strings.Contains(help(t, command), "\n  "+words[0]+" ") {
		return command + " " + words[0]
	}
	return command
}

// help is what a command says of itself, "" if there is none.
func help(t *testing.T, command string) string {
	t.Helper()
	var out, errs bytes.Buffer
	status := cmd.Run(t.Context(), cmd.Process{
		Args: append(strings.Fields(command), "--help"), Getenv: func(string) string { return "" }, In: strings.NewReader(""), Out: &out, Err: &errs,
	})
	if status != 0 {
		return ""
	}
	return out.String()
}

// typable fails unless the command and its flags are in its own help.
func typable(t *testing.T, path, command string, flags []string) {
	t.Helper()
	says := help(t, command)
	if !strings.Contains(says, "stile "+command) {
		t.Errorf("%s names stile %s, which is no command", path, command)
	}
	for _, f := range flags {
		if !strings.Contains(says, f) {
			t.Errorf("%s names stile %s with %s, which it does not take", path, command, f)
		}
	}
}
