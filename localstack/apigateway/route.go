package apigateway

import (
	"fmt"
	"maps"
	"strings"
)

// node is one path segment of an API and what lies below it.
type node struct {
	literal map[string]*node
	param   *node // {name}
	greedy  *node // {name+}: this and every segment after it
	name    string
	path    string            // the resource's path, such as /v1/login/{proxy+}
	methods map[string]string // function's ARN by method; ANY stands for all
}

func newNode(path string) *node {
	return &node{literal: map[string]*node{}, path: path, methods: map[string]string{}}
}

// match is a route that fits a request.
type match struct {
	resource   string // the resource's path
	function   string // ARN
	parameters map[string]string
}

// add declares a method of a path.
func (n *node) add(path, method, function string) error {
	if !strings.HasPrefix(path, "/") {
		return fmt.Errorf("path %q does not begin with /", path)
	}
	at, whole := n, ""
	for segment := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
		if segment == "" {
			continue
		}
		if at.name != "" && strings.HasSuffix(whole, "+}") {
			return fmt.Errorf("path %q continues after a greedy parameter", path)
		}
		whole += "/" + segment
		next, err := at.child(segment, whole)
		if err != nil {
			return err
		}
		at = next
	}
	if at.methods[method] != "" {
		return fmt.Errorf("%s %s is declared twice", method, path)
	}
	at.methods[method] = function
	return nil
}

func (n *node) child(segment, whole string) (*node, error) {
	name, isParam := strings.CutPrefix(segment, "{")
	if !isParam {
		if n.literal[segment] == nil {
			n.literal[segment] = newNode(whole)
		}
		return n.literal[segment], nil
	}
	name = strings.TrimSuffix(name, "}")
	place := &n.param
	if bare, isGreedy := strings.CutSuffix(name, "+"); isGreedy {
		name, place = bare, &n.greedy
	}
	if *place == nil {
		*place = newNode(whole)
		(*place).name = name
	}
	if (*place).name != name {
		return nil, fmt.Errorf("%s and %s are two names for one parameter", (*place).path, whole)
	}
	return *place, nil
}

// find prefers literal segments to parameters and parameters to greedy ones, and goes back when a choice
// leads nowhere.
func (n *node) find(path, method string) (match, bool) {
	path = strings.Trim(path, "/")
	var segments []string
	if path != "" {
		segments = strings.Split(path, "/")
	}
	return n.walk(segments, method, map[string]string{})
}

func (n *node) walk(segments []string, method string, parameters map[string]string) (match, bool) {
	if len(segments) == 0 {
		function := n.methods[method]
		if function == "" {
			function = n.methods["ANY"]
		}
		if function == "" {
			return match{}, false
		}
		return match{n.path, function, parameters}, true
	}
	if next := n.literal[segments[0]]; next != nil {
		if m, ok := next.walk(segments[1:], method, parameters); ok {
			return m, true
		}
	}
	if next := n.param; next != nil && segments[0] != "" {
		if m, ok := next.walk(segments[1:], method, with(parameters, next.name, segments[0])); ok {
			return m, true
		}
	}
	if next := n.greedy; next != nil {
		return next.walk(nil, method, with(parameters, next.name, strings.Join(segments, "/")))
	}
	return match{}, false
}

func with(parameters map[string]string, name, value string) map[string]string {
	out := map[string]string{name: value}
	maps.Copy(out, parameters)
	return out
}
