// Package account reads account.yaml: what the local AWS has beside the stacks, such as the roles that
// people and nodes use, the resources that the demo needs, and the demo's agents.
//
// It must not know how any of it is brought about. Its entry point is [Parse].
package account

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"

	"github.com/goccy/go-yaml"
)

// Account is the whole file.
type Account struct {
	Account   string     `yaml:"account"`   // twelve digits
	Partition string     `yaml:"partition"` // aws
	Region    string     `yaml:"region"`
	People    []Person   `yaml:"people"`
	Agents    []Agent    `yaml:"agents"`
	Resources []Resource `yaml:"resources"` // created through the product, in order, as the administrator
}

// Person is somebody with a role outside the stacks, and a file of environment variables for using it.
type Person struct {
	Env     string `yaml:"env"`     // the file's name in the state directory
	Home    string `yaml:"home"`    // below home/ in the state directory
	Role    string `yaml:"role"`    // the role's name
	Path    string `yaml:"path"`    // the role's path, "/" if empty
	Session string `yaml:"session"` // the session's name
	Admin   bool   `yaml:"admin"`   // the first administrator; exactly one is
}

// Agent is one process of the product's agent, with a role such as a server in its account would have.
type Agent struct {
	Name    string         `yaml:"name"`    // of the process; its files lie in home/<name>
	Account string         `yaml:"account"` // whose role it is, twelve digits; this account's if empty
	Role    string         `yaml:"role"`    // the role's name
	Service string         `yaml:"service"` // the service principal that the role trusts
	Session string         `yaml:"session"` // the session's name
	Config  map[string]any `yaml:"config"`  // the agent's configuration file
}

// Resource is one resource of the product.
type Resource struct {
	Kind     string         `yaml:"kind"`
	Metadata map[string]any `yaml:"metadata"`
	Spec     map[string]any `yaml:"spec"`
}

// Name is metadata.name.
func (r Resource) Name() string {
	name, _ := r.Metadata["name"].(string)
	return name
}

// YAML writes the resource as its own document.
func (r Resource) YAML() ([]byte, error) { return yaml.Marshal(r) }

var variable = regexp.MustCompile(`\$\{([A-Za-z_]*)\}`)

// Parse reads the file. ${NAME} stands for vars[NAME], in values only; an unknown name, an unknown key or a
// missing value is an error, with line and column where the YAML is at fault.
func Parse(raw []byte, vars map[string]string) (*Account, error) {
	var unknown []error
	text := variable.ReplaceAllFunc(raw, func(hole []byte) []byte {
		name := string(hole[2 : len(hole)-1])
		value, ok := vars[name]
		if !ok {
			unknown = append(unknown, fmt.Errorf("reading account: ${%s} is not known; known are %s", name, names(vars)))
		}
		if strings.ContainsAny(value, "\"'\n\\#{}[]") || strings.Contains(value, ": ") {
			unknown = append(unknown, fmt.Errorf("reading account: the value of ${%s}, %q, can't be written in YAML as it is", name, value))
		}
		return []byte(value)
	})
	if err := errors.Join(unknown...); err != nil {
		return nil, err
	}
	var a Account
	if err := yaml.NewDecoder(bytes.NewReader(text), yaml.Strict()).Decode(&a); err != nil {
		return nil, fmt.Errorf("reading account: %s", yaml.FormatError(err, false, true))
	}
	return &a, a.validate()
}

func names(vars map[string]string) string {
	var list []string
	for name := range vars {
		list = append(list, "${"+name+"}")
	}
	return strings.Join(list, ", ")
}

// Load reads the file at path.
func Load(path string, vars map[string]string) (*Account, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading account: %w", err)
	}
	a, err := Parse(raw, vars)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return a, nil
}

// Admin is the first administrator.
func (a *Account) Admin() Person {
	for _, p := range a.People {
		if p.Admin {
			return p
		}
	}
	return Person{}
}

var (
	digits = regexp.MustCompile(`^[0-9]{12}$`)
	safe   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)
)

func (a *Account) validate() error {
	var faults []error
	need := func(ok bool, format string, args ...any) {
		if !ok {
			faults = append(faults, fmt.Errorf("reading account: "+format, args...))
		}
	}
	need(digits.MatchString(a.Account), "account: %q is not twelve digits", a.Account)
	need(a.Partition != "", "partition is missing")
	need(a.Region != "", "region is missing")
	admins := 0
	for i, p := range a.People {
		need(safe.MatchString(p.Env), "people[%d].env: %q is not a file name", i, p.Env)
		need(safe.MatchString(p.Home), "people[%d].home: %q is not a directory name", i, p.Home)
		need(p.Role != "" && p.Session != "", "people[%d]: role and session are needed", i)
		if p.Admin {
			admins++
		}
	}
	need(admins == 1, "people: exactly one is the administrator (admin: true), not %d", admins)
	for i, g := range a.Agents {
		need(safe.MatchString(g.Name), "agents[%d].name: %q is not a file name", i, g.Name)
		need(g.Role != "" && g.Session != "" && g.Service != "", "agents[%d]: role, session and service are needed", i)
		need(g.Account == "" || digits.MatchString(g.Account), "agents[%d].account: %q is not twelve digits", i, g.Account)
		need(len(g.Config) > 0, "agents[%d].config is missing", i)
	}
	for i, r := range a.Resources {
		need(r.Kind != "" && r.Name() != "", "resources[%d]: kind and metadata.name are needed", i)
	}
	return errors.Join(faults...)
}
