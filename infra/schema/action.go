package schema

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Reference is AWS's Service Authorization Reference, of the services that policies here name.
type Reference struct {
	Source   string // package and version
	Services map[string]Service
}

// Service is one service, by the prefix of its actions.
type Service struct {
	Actions map[string]Action
	Kinds   map[string]Thing
}

// Action is one action: the kinds of things that it's done to, none if it knows no resource, and its condition keys.
type Action struct {
	On   []string `json:"on,omitempty"`
	Keys []string `json:"keys,omitempty"`
}

// Thing is a kind of resource: the form of its ARN, and the condition keys of every action on it.
type Thing struct {
	ARN  string   `json:"arn"`
	Keys []string `json:"keys,omitempty"`
}

//go:embed actions.json
var actions []byte

// Actions reads the committed reference.
func Actions() (*Reference, error) {
	r := &Reference{}
	if err := json.Unmarshal(actions, r); err != nil {
		return nil, fmt.Errorf("reading actions.json: %w", err)
	}
	return r, nil
}

// Refresh says how to read a new type or service.
const Refresh = "if AWS knows it, run make schemas"

// Match lists the actions that a pattern of a policy means, sorted. None is an error: AWS takes a misspelt action, which then
// grants nothing.
func (r *Reference) Match(pattern string) ([]string, error) {
	prefix, verb, _ := strings.Cut(pattern, ":")
	service, ok := r.Services[prefix]
	if !ok {
		return nil, fmt.Errorf("%s: the service %q is not in the reference; %s", pattern, prefix, Refresh)
	}
	var out []string
	for name := range service.Actions {
		if like(verb, name) {
			out = append(out, prefix+":"+name)
		}
	}
	if out == nil {
		return nil, fmt.Errorf("%s: %s has no such action", pattern, r.Source)
	}
	slices.Sort(out)
	return out, nil
}

// Resourceless reports whether the action knows no resource, so that only * allows it.
func (r *Reference) Resourceless(action string) bool {
	prefix, verb, _ := strings.Cut(action, ":")
	return len(r.Services[prefix].Actions[verb].On) == 0
}

// global are the condition keys of every request that are used here, of
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html.
var global = []string{
	"aws:CalledVia", "aws:PrincipalAccount", "aws:PrincipalArn", "aws:PrincipalIsAWSService", "aws:PrincipalOrgID",
	"aws:RequestedRegion", "aws:ResourceAccount", "aws:SecureTransport", "aws:SourceAccount", "aws:SourceArn", "aws:SourceIp",
	"aws:SourceOrgID", "aws:SourceVpc", "aws:SourceVpce", "aws:ViaAWSService",
}

// Key reports whether the condition key can be in a request for the action: in no other does a condition on it hold.
func (r *Reference) Key(action, key string) bool {
	prefix, verb, _ := strings.Cut(action, ":")
	service := r.Services[prefix]
	keys := slices.Concat(global, service.Actions[verb].Keys)
	for _, kind := range service.Actions[verb].On {
		keys = append(keys, service.Kinds[kind].Keys...)
	}
	return slices.ContainsFunc(keys, func(known string) bool {
		known, _, variable := strings.Cut(known, "${")
		return strings.EqualFold(known, key) || variable && len(key) > len(known) && strings.EqualFold(known, key[:len(known)])
	})
}

var variable = regexp.MustCompile(`\$\{[A-Za-z]+\}`)

// On reports whether a pattern of ARNs can be of a kind of thing that the action is done to.
func (r *Reference) On(action, arn string) bool {
	prefix, verb, _ := strings.Cut(action, ":")
	service := r.Services[prefix]
	return slices.ContainsFunc(service.Actions[verb].On, func(kind string) bool {
		return meet(variable.ReplaceAllString(service.Kinds[kind].ARN, "?*"), arn)
	})
}

// meet reports whether some text is met by both patterns of * and ?.
func meet(a, b string) bool {
	switch {
	case a == "" && b == "":
		return true
	case strings.HasPrefix(a, "*"):
		return meet(a[1:], b) || b != "" && meet(a, b[1:])
	case strings.HasPrefix(b, "*"):
		return meet(b, a)
	case a == "" || b == "":
		return false
	}
	return (a[0] == b[0] || a[0] == '?' || b[0] == '?') && meet(a[1:], b[1:])
}

// like compares an action, which has no case, with a pattern of * and ?.
func like(pattern, text string) bool {
	form := strings.NewReplacer(`\*`, ".*", `\?`, ".").Replace(regexp.QuoteMeta(pattern))
	ok, err := regexp.MatchString("(?is)^"+form+"$", text)
	return err == nil && ok
}
