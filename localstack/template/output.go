package template

import (
	"fmt"
)

// outputs resolves the template's outputs and exports, and puts them in place of the earlier ones.
func (r *deployment) outputs() (map[string]string, error) {
	outputs, exports := map[string]string{}, map[string]string{}
	for _, name := range sortedKeys(r.template.Outputs) {
		output := r.template.Outputs[name]
		exists, err := r.scope.holds(output.Condition)
		if err != nil {
			return nil, fmt.Errorf("output %s: %w", name, err)
		}
		if !exists {
			continue
		}
		if outputs[name], err = r.text(output.Value); err != nil {
			return nil, fmt.Errorf("output %s: %w", name, err)
		}
		if output.Export == nil {
			continue
		}
		export, err := r.text(output.Export.Name)
		if err != nil {
			return nil, fmt.Errorf("export of output %s: %w", name, err)
		}
		exports[export] = outputs[name]
	}
	if err := r.exportable(exports); err != nil {
		return nil, err
	}
	r.State.note(func() { r.state.Outputs, r.state.Exports, r.state.Imports = outputs, exports, r.imports })
	return outputs, nil
}

// exportable refuses a change of an export that another stack imports.
func (r *deployment) exportable(exports map[string]string) error {
	for _, name := range sortedKeys(r.state.Exports) {
		value, stays := exports[name]
		by := r.State.importer(name)
		if by == "" || stays && value == r.state.Exports[name] {
			continue
		}
		verb := "updated"
		if !stays {
			verb = "deleted"
		}
		return fmt.Errorf("export %s cannot be %s as it is in use by %s", name, verb, by)
	}
	return nil
}

func (r *deployment) text(v any) (string, error) {
	value, err := r.scope.Resolve(v)
	if err != nil {
		return "", err
	}
	return scalar(value)
}
