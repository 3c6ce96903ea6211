package preflight

import "strings"

// Stacks are the stacks that are looked for.
var Stacks = stacks

// Names are all names that are looked for.
func Names(region string) []string {
	var out []string
	for pattern, list := range map[string][]string{"stile-*": functions, "stile-*-" + region: roles, "alias/stile/*": aliases, "/stile/*": logs} {
		for _, name := range list {
			out = append(out, strings.Replace(pattern, "*", name, 1))
		}
	}
	return out
}
