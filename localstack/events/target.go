package events

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/stile-dev/stile/localstack/resource"
)

// Limits of a target's retries, from "RetryPolicy" in EventBridge's API reference.
const (
	mostRetries = 185
	leastAge    = 60 // seconds
	mostAge     = 86400
	maxPaths    = 100
)

func readTargets(in *resource.Reader, logicalID string) []Target {
	var out []Target
	for i, o := range in.Objects("Targets") {
		at := fmt.Sprintf("%s.Targets[%d]", logicalID, i)
		t := resource.ReadObject(at, o)
		target := Target{ID: t.Required("Id"), ARN: t.Required("Arn"), Role: t.String("RoleArn"), Path: t.String("InputPath")}
		if target.Path != "" {
			if _, err := steps(target.Path); err != nil {
				t.Fail("InputPath", "%w", err)
			}
		}
		if t.Has("InputTransformer") {
			if target.Path != "" {
				t.Fail("InputPath", "a target has either a path or a transformer")
			}
			in.Add(target.readTransformer(resource.ReadObject(at+".InputTransformer", t.Object("InputTransformer"))))
		}
		if t.Has("DeadLetterConfig") {
			dead := resource.ReadObject(at+".DeadLetterConfig", t.Object("DeadLetterConfig"))
			if target.Dead = dead.Required("Arn"); !strings.Contains(target.Dead, ":sqs:") {
				dead.Fail("Arn", "%q is no queue", target.Dead)
			}
			in.Add(dead.Done())
		}
		if t.Has("RetryPolicy") {
			policy := resource.ReadObject(at+".RetryPolicy", t.Object("RetryPolicy"))
			target.Retries = number(policy, "MaximumRetryAttempts", 0, mostRetries)
			target.Age = number(policy, "MaximumEventAgeInSeconds", leastAge, mostAge)
			in.Add(policy.Done())
		}
		out = append(out, target)
		in.Add(t.Done())
	}
	return out
}

func number(in *resource.Reader, name string, least, most int) *int {
	if !in.Has(name) {
		return nil
	}
	n, err := strconv.Atoi(in.String(name))
	if err != nil || n < least || n > most {
		in.Fail(name, "%q is not %d to %d", in.String(name), least, most)
	}
	return &n
}

func (t *Target) readTransformer(shape *resource.Reader) error {
	t.Template = shape.Required("InputTemplate")
	paths := shape.Object("InputPathsMap")
	if len(paths) > maxPaths {
		shape.Fail("InputPathsMap", "more than %d", maxPaths)
	}
	for name, v := range paths {
		path, _ := v.(string)
		if _, err := steps(path); err != nil || strings.HasPrefix(name, "AWS") || !pathName.MatchString(name) {
			shape.Fail("InputPathsMap", "%s, of %q: %w", name, path, errors.Join(errors.New("a name or a path is none"), err))
		}
		if t.Paths == nil {
			t.Paths = map[string]string{}
		}
		t.Paths[name] = path
	}
	if err := t.checkTemplate(); err != nil {
		shape.Fail("InputTemplate", "%w", err)
	}
	return shape.Done()
}

// wholeEvent and ruleARN are the placeholders that need no path. EventBridge takes the first as the value of a key in an
// object alone.
const (
	wholeEvent = "<aws.events.event.json>"
	ruleARN    = "<aws.events.rule-arn>"
	ruleName   = "<aws.events.rule-name>"
)

var (
	placeholder = regexp.MustCompile(`<[^<>]*>`)
	pathName    = regexp.MustCompile(`^[A-Za-z0-9_-]{1,256}$`)
	pathForm    = regexp.MustCompile(`^\$((\.[A-Za-z0-9_-]+|\['[^']+'\]|\[[0-9]+\])*)$`)
	pathStep    = regexp.MustCompile(`\.([A-Za-z0-9_-]+)|\['([^']+)'\]|\[([0-9]+)\]`)
)

// steps reads a path such as $.detail.list[0].name into its keys, and indexes as ints.
func steps(path string) ([]any, error) {
	m := pathForm.FindStringSubmatch(path)
	if m == nil {
		return nil, fmt.Errorf("%q is not a path such as $.detail.list[0]", path)
	}
	var out []any
	for _, step := range pathStep.FindAllStringSubmatch(m[1], -1) {
		if step[3] != "" {
			n, err := strconv.Atoi(step[3])
			if err != nil {
				return nil, err
			}
			out = append(out, n)
			continue
		}
		out = append(out, step[1]+step[2])
	}
	return out, nil
}

// part is what is at a path of an event; false if nothing is.
func part(event []byte, path string) (json.RawMessage, bool) {
	list, err := steps(path)
	if err != nil {
		return nil, false
	}
	raw := json.RawMessage(event)
	for _, step := range list {
		switch step := step.(type) {
		case string:
			var object map[string]json.RawMessage
			if json.Unmarshal(raw, &object) != nil || object[step] == nil {
				return nil, false
			}
			raw = object[step]
		case int:
			var items []json.RawMessage
			if json.Unmarshal(raw, &items) != nil || step >= len(items) {
				return nil, false
			}
			raw = items[step]
		}
	}
	return raw, true
}

// checkTemplate refuses a template that doesn't become JSON.
func (t Target) checkTemplate() error {
	for _, p := range placeholder.FindAllString(t.Template, -1) {
		if _, mapped := t.Paths[strings.Trim(p, "<>")]; !mapped && p != wholeEvent && p != ruleARN && p != ruleName {
			return fmt.Errorf("the placeholder %s is not supported here, only %s, %s, %s and those of InputPathsMap are", p, wholeEvent, ruleARN, ruleName)
		}
	}
	if !json.Valid(fill(t.Template, func(string) json.RawMessage { return json.RawMessage(`{}`) })) {
		return errors.New("with the event in its place it is no JSON")
	}
	return nil
}

// message is what a target gets of an event.
func (t Target) message(r Rule, event []byte) []byte {
	switch {
	case t.Path != "":
		found, ok := part(event, t.Path)
		if !ok {
			return []byte("null")
		}
		return found
	case t.Template == "":
		return event
	}
	return fill(t.Template, func(name string) json.RawMessage {
		switch name {
		case wholeEvent:
			return event
		case ruleARN:
			return quoted(r.ARN)
		case ruleName:
			return quoted(r.Name)
		}
		found, ok := part(event, t.Paths[strings.Trim(name, "<>")])
		if !ok {
			return json.RawMessage(`null`)
		}
		return found
	})
}

func quoted(text string) json.RawMessage {
	raw, _ := json.Marshal(text) // a string
	return raw
}

// fill puts values into a template's places: as JSON, or within a string as text.
func fill(template string, value func(name string) json.RawMessage) []byte {
	var b []byte
	inside := false
	for i := 0; i < len(template); i++ {
		switch c := template[i]; {
		case c == '\\' && inside && i+1 < len(template):
			b = append(b, c, template[i+1])
			i++
			continue
		case c == '"':
			inside = !inside
		case c == '<':
			at := placeholder.FindStringIndex(template[i:])
			if at == nil || at[0] != 0 {
				break
			}
			v := value(template[i : i+at[1]])
			if inside {
				v = within(v)
			}
			b = append(b, v...)
			i += at[1] - 1
			continue
		}
		b = append(b, template[i])
	}
	return b
}

// within is a value inside of a string: a string's own text, nothing for null, and else its JSON, escaped.
func within(v json.RawMessage) json.RawMessage {
	var text string
	switch {
	case string(v) == "null":
	case json.Unmarshal(v, &text) != nil:
		text = string(v)
	}
	raw := quoted(text)
	return raw[1 : len(raw)-1]
}

// limits are how often a target is tried again, and for how long.
func (t Target) limits() (retries int, age time.Duration) {
	retries, seconds := mostRetries, mostAge
	if t.Retries != nil {
		retries = *t.Retries
	}
	if t.Age != nil {
		seconds = *t.Age
	}
	return retries, time.Duration(seconds) * time.Second
}
