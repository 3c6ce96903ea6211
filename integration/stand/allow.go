package stand

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Allow is one action that a role of the templates is allowed by one statement.
type Allow struct{ Role, Sid, Action string }

func (a Allow) String() string { return a.Role + "/" + a.Sid + "/" + a.Action }

// Use is one line of the local AWS's list of what was used of all that roles are allowed.
type Use struct {
	At              time.Time
	Role            string // as in [Allow]
	Sid, Action     string
	Resource, Value string // which of the statement's resources, and of the values of its condition on several
}

// Allow is what was used.
func (u Use) Allow() Allow { return Allow{u.Role, u.Sid, u.Action} }

// region stands at the end of a role's name.
var region = regexp.MustCompile(`-(\$\{AWS::Region\}|[a-z]{2}(-[a-z]+)+-[0-9])$`)

func short(role string) string {
	return strings.TrimPrefix(region.ReplaceAllString(role, ""), "stile-")
}

// Uses reads what was used in this system so far.
func (s *System) Uses() ([]Use, error) {
	raw, err := os.ReadFile(filepath.Join(s.State, "aws", "uses.jsonl"))
	if err != nil {
		return nil, fmt.Errorf("reading what roles used: %w", err)
	}
	var out []Use
	lines := bufio.NewScanner(bytes.NewReader(raw))
	for lines.Scan() {
		var u Use
		if err := json.Unmarshal(lines.Bytes(), &u); err != nil {
			return nil, fmt.Errorf("reading what roles used: %w in %q", err, lines.Text())
		}
		u.Role = short(u.Role)
		out = append(out, u)
	}
	return out, lines.Err()
}

// Allowed lists what the roles of this system's templates are allowed, and to what each allow is limited.
func (s *System) Allowed() (map[Allow]Scope, error) {
	out := map[Allow]Scope{}
	err := s.policies(func(role string, document map[string]any) bool {
		for _, item := range document["Statement"].([]any) {
			statement, _ := item.(map[string]any)
			for _, action := range texts(statement["Action"]) {
				sid, _ := statement["Sid"].(string)
				out[Allow{role, sid, action}] = scope(statement)
			}
		}
		return false
	})
	return out, err
}

// Scope is what an allow is limited to.
type Scope struct {
	Resources int
	Values    []string
}

func scope(statement map[string]any) Scope {
	out := Scope{Resources: 1}
	if list, several := statement["Resource"].([]any); several {
		out.Resources = len(list)
	}
	condition, _ := statement["Condition"].(map[string]any)
	for operator, keys := range condition {
		for _, values := range keys.(map[string]any) {
			if strings.HasPrefix(operator, "For") {
				out.Values = append(out.Values, texts(values)...)
			}
		}
	}
	return out
}

// Withdraw takes an allowed action out of this system's templates, which are a copy, and with its last action the
// statement.
func (s *System) Withdraw(a Allow) error {
	found := false
	err := s.policies(func(role string, document map[string]any) (changed bool) {
		document["Statement"] = slices.DeleteFunc(document["Statement"].([]any), func(item any) bool {
			statement, _ := item.(map[string]any)
			actions := texts(statement["Action"])
			if role != a.Role || statement["Sid"] != a.Sid || !slices.Contains(actions, a.Action) {
				return false
			}
			found, changed = true, true
			left := slices.DeleteFunc(actions, func(action string) bool { return action == a.Action })
			statement["Action"] = left
			return len(left) == 0
		})
		return changed
	})
	if err == nil && !found {
		err = fmt.Errorf("no role is allowed %s", a)
	}
	return err
}

// policies shows every inline policy of the templates' roles, and writes a template in which one was changed.
func (s *System) policies(show func(role string, document map[string]any) (changed bool)) error {
	paths, err := filepath.Glob(filepath.Join(s.Root, "infra/templates/*.json"))
	if err != nil || len(paths) == 0 {
		return fmt.Errorf("no templates below %s: %w", s.Root, err)
	}
	for _, path := range paths {
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		var t struct{ Resources map[string]map[string]any }
		var whole map[string]any
		if err := errors.Join(json.Unmarshal(raw, &t), json.Unmarshal(raw, &whole)); err != nil {
			return fmt.Errorf("reading %s: %w", path, err)
		}
		changed := false
		for _, r := range t.Resources {
			changed = showRole(r, show) || changed
		}
		if !changed {
			continue
		}
		whole["Resources"] = t.Resources
		if raw, err = json.MarshalIndent(whole, "", " "); err == nil {
			err = os.WriteFile(path, raw, 0o644)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func showRole(r map[string]any, show func(string, map[string]any) bool) (changed bool) {
	properties, _ := r["Properties"].(map[string]any)
	name, _ := properties["RoleName"].(map[string]any)
	text, _ := name["Fn::Sub"].(string)
	if r["Type"] != "AWS::IAM::Role" || !strings.HasPrefix(text, "stile-") {
		return false // a test's own
	}
	list, _ := properties["Policies"].([]any)
	for _, p := range list {
		document, _ := p.(map[string]any)["PolicyDocument"].(map[string]any)
		changed = show(short(text), document) || changed
	}
	return changed
}

func texts(value any) []string {
	switch v := value.(type) {
	case string:
		return []string{v}
	case []string:
		return slices.Clone(v)
	case []any:
		out := make([]string, len(v))
		for i, item := range v {
			out[i], _ = item.(string)
		}
		return out
	}
	return nil
}
