package cmd

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/stile-dev/stile/pkg/escape"
	"github.com/stile-dev/stile/pkg/resource"
)

// completeKinds offers the kinds for the first most arguments; a name may follow, so no space does.
func completeKinds(behind string, most int) cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) >= most {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var out []cobra.Completion
		for _, k := range resource.Kinds {
			out = append(out, cobra.CompletionWithDesc(k.Name+behind, k.Summary))
		}
		return out, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	}
}

// completeNodes offers the nodes that may be reached. Without a login or the API it offers nothing and says
// nothing: it runs while somebody types.
func (a *app) completeNodes(c *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	s, err := a.session()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	list, err := s.nodes(c.Context())
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	login := typed[:strings.LastIndexByte(typed, '@')+1]
	var out []cobra.Completion
	for _, n := range list.Targets {
		out = append(out, login+escape.Text(n.Name))
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}

// offer completes a flag's value from a list.
func offer(c *cobra.Command, flag string, words ...string) {
	// It fails only for a flag that c doesn't have, or that has its completions already.
	_ = c.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
}
