package preflight

import "strings"

// Stacks are the stacks that are looked for.
var Stacks = stacks

// Making are the actions that make a resource of each type, and Asked the parameters that ask for some types.
var Making, Asked = making, asked

// Names are all names that are looked for, behind the stack that gives them.
func Names(region string) []string {
	var out []string
	for form, names := range map[string]fixed{"stile-*": functions, "stile-*-" + region: roles, "alias/stile/*": aliases, "/stile/*": logs} {
		for stack, list := range names {
			for _, name := range list {
				out = append(out, stack+" "+strings.Replace(form, "*", name, 1))
			}
		}
	}
	return out
}
