package template

import "fmt"

// importable are the types that can be taken over here, with the property that names one.
var importable = map[string]string{"AWS::DynamoDB::Table": "TableName"}

// adopts says whether a new resource may be one that exists already under the name that the template gives it. As with
// CloudFormation's ImportExistingResources, it must be retained when the stack goes, and belong to no stack.
func (r *deployment) adopts(want *ResourceState) (bool, error) {
	property := importable[want.Type]
	name, _ := want.Properties[property].(string)
	if !r.adopting || name == "" {
		return false, nil
	}
	if want.OnDelete != retain && want.OnDelete != retainExceptOnCreate {
		return false, fmt.Errorf("only what is retained can be taken over: set DeletionPolicy to Retain")
	}
	if owner := r.State.owner(want.Type, name); owner != "" {
		return false, fmt.Errorf("%s belongs to stack %s already; give property %s the name of another", name, owner, property)
	}
	return true, nil
}

// owner finds the stack that has a resource of a type under a physical id.
func (s *State) owner(typ, ref string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, stack := range s.Stacks {
		for _, r := range stack.Resources {
			if r.Type == typ && r.Ref == ref {
				return name
			}
		}
	}
	return ""
}
