package lambda

import (
	"fmt"
	"maps"
	"slices"

	"github.com/stile-dev/stile/localstack/iam"
	"github.com/stile-dev/stile/localstack/property"
	"github.com/stile-dev/stile/localstack/resource"
)

// statement is one statement of a function's resource policy, as AddPermission writes it.
type statement map[string]any

// permission is AWS::Lambda::Permission.
type permission struct {
	Action       string
	FunctionName string
	Principal    string
	SourceArn    string
}

func (h *Host) grant(r resource.Resource) (resource.Outcome, error) {
	var p permission
	if err := property.Decode(r.Properties, &p); err != nil {
		return resource.Outcome{}, err
	}
	name := functionName(p.FunctionName)
	if _, err := h.function(name); err != nil {
		return resource.Outcome{}, fmt.Errorf("property FunctionName: %w", err)
	}
	s := p.statement(r.LogicalID, h.arn(name))
	if _, err := iam.ParseValue("function/"+name, iam.ResourceShape, document(s)); err != nil {
		return resource.Outcome{}, fmt.Errorf("reading the permission: %w", err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.grants[name] == nil {
		h.grants[name] = map[string]statement{}
	}
	id := r.Stack + "-" + r.Label()
	h.grants[name][id] = s
	return resource.Outcome{Ref: id, Attributes: map[string]any{"Id": id}}, nil
}

// revoke takes a permission back.
func (h *Host) revoke(r resource.Resource) error {
	var p permission
	if err := property.Decode(r.Properties, &p); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.grants[functionName(p.FunctionName)], r.PhysicalID)
	return nil
}

func (p permission) statement(sid, arn string) statement {
	kind := "AWS"
	if len(p.Principal) > len(".amazonaws.com") && p.Principal[len(p.Principal)-len(".amazonaws.com"):] == ".amazonaws.com" {
		kind = "Service"
	}
	s := statement{"Sid": sid, "Effect": "Allow", "Principal": map[string]any{kind: p.Principal}, "Action": p.Action, "Resource": arn}
	if p.SourceArn != "" {
		s["Condition"] = map[string]any{"ArnLike": map[string]any{"AWS:SourceArn": p.SourceArn}}
	}
	return s
}

func document(statements ...statement) map[string]any {
	list := make([]any, len(statements))
	for i, s := range statements {
		list[i] = map[string]any(s)
	}
	return map[string]any{"Version": "2012-10-17", "Statement": list}
}

// policies is a function's resource policy, nil if nothing was granted on it.
func (h *Host) policies(name string) ([]*iam.Policy, error) {
	h.mu.Lock()
	granted := slices.Collect(maps.Values(h.grants[name]))
	h.mu.Unlock()
	if len(granted) == 0 {
		return nil, nil
	}
	slices.SortFunc(granted, func(a, b statement) int { return cmpText(a["Sid"], b["Sid"]) })
	policy, err := iam.ParseValue("function/"+name, iam.ResourceShape, document(granted...))
	if err != nil {
		return nil, fmt.Errorf("reading the resource policy of %s: %w", name, err)
	}
	return []*iam.Policy{policy}, nil
}

func cmpText(a, b any) int {
	x, y := fmt.Sprint(a), fmt.Sprint(b)
	switch {
	case x < y:
		return -1
	case x > y:
		return 1
	}
	return 0
}
