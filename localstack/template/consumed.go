package template

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
)

// stackOutput reads an output of another stack of this account and Region.
func (s *Scope) stackOutput(arg any) (any, error) {
	value, err := s.Resolve(arg)
	if err != nil {
		return nil, err
	}
	to, _ := value.(map[string]any)
	stack, _ := to["StackName"].(string)
	name, _ := to["OutputName"].(string)
	if stack == "" || name == "" || len(to) != 2 {
		return nil, fmt.Errorf("takes StackName and OutputName, not %v: other Regions and roles aren't known here", value)
	}
	if s.Output == nil {
		return nil, errors.New("no other stack is known")
	}
	return s.Output(stack, name)
}

// Output finds the value of a stack's output by its logical id.
func (s *State) Output(stack, name string) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.Stacks[stack]
	if st == nil || st.Outputs == nil {
		return nil, fmt.Errorf("there is no stack %s with outputs; deploy it first", stack)
	}
	value, ok := st.Outputs[name]
	if !ok {
		return nil, fmt.Errorf("stack %s has no output %s; deploy the template that declares it first", stack, name)
	}
	return value, nil
}

// given are the parameters of a deployment: those that it names, and for the others that the template still declares
// the values of the deployment before, as the CDK asks CloudFormation for.
func (s *StackState) given(stack Stack) map[string]string {
	out := map[string]string{}
	for name, value := range s.Parameters {
		if _, declared := stack.Template.Parameters[name]; declared {
			out[name] = value
		}
	}
	maps.Copy(out, stack.Parameters)
	return out
}

// values are the parameters' effective values, defaults included: those are what CloudFormation remembers.
func (s *Scope) values() map[string]string {
	out := map[string]string{}
	for name, value := range s.Parameters {
		out[name] = fmt.Sprint(value) // they are strings
	}
	return out
}

// consumption is what a resource reads of other stacks while it is resolved.
type consumption struct {
	declared string
	values   map[string]string
}

// consuming lets the scope read outputs for one resource. CloudFormation tells nobody when another stack's output
// changes, and the CDK skips a stack whose text is the same: so a declaration that is the same as before has the
// values that it had, however dead. That holds here for each resource by itself, which is as strict as it can be on AWS.
func (r *deployment) consuming(d Declaration, before *ResourceState) (*consumption, error) {
	raw, err := json.Marshal(d)
	if err != nil {
		return nil, fmt.Errorf("reading the declaration: %w", err)
	}
	sum := sha256.Sum256(raw)
	used := &consumption{hex.EncodeToString(sum[:]), map[string]string{}}
	r.scope.Output = func(stack, name string) (any, error) {
		key := stack + "." + name
		if before != nil && before.Declared == used.declared {
			if value, ok := before.Consumed[key]; ok {
				used.values[key] = value
				return value, nil
			}
		}
		value, err := r.State.Output(stack, name)
		if err != nil {
			return nil, err
		}
		text, err := scalar(value)
		used.values[key] = text
		return text, err
	}
	return used, nil
}
