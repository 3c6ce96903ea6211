package cmd

import (
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stile-dev/stile/cli/output"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/resource"
	"github.com/stile-dev/stile/pkg/wire"
)

func (a *app) get() *cobra.Command {
	c := &cobra.Command{
		Use:     "get KIND[/NAME]",
		Short:   "Show resources: " + strings.Join(resource.KindNames(), ", "),
		Example: "  stile get roles\n  stile get role/developer > developer.yaml",
		Args:    exactly(1, "stile get roles, or stile get role/developer"),

		ValidArgsFunction: completeKinds("", 1),
	}
	format := formatFlag(c, "", output.Formats...)
	c.RunE = func(c *cobra.Command, args []string) error {
		kind, name, one, err := reference(args[0])
		if err != nil {
			return err
		}
		f, err := pick(c, format, one)
		if err != nil {
			return err
		}
		s, err := a.session()
		if err != nil {
			return err
		}
		if one {
			r, err := s.client.GetResource(c.Context(), kind, name)
			if err != nil {
				return silence(err)
			}
			return output.Print(a.Out, f, r, resourceRows([]wire.Resource{r}))
		}
		list := []wire.Resource{}
		for r, err := range s.client.Resources(c.Context(), kind) {
			if err != nil {
				return silence(err)
			}
			list = append(list, r)
		}
		return output.Print(a.Out, f, list, resourceRows(list))
	}
	return c
}

// pick prints one resource as the YAML that create takes, and a list as a table, unless told otherwise.
func pick(c *cobra.Command, format func() (output.Format, error), one bool) (output.Format, error) {
	if c.Flags().Changed("format") {
		return format()
	}
	if one {
		return output.YAML, nil
	}
	return output.Table, nil
}

func resourceRows(list []wire.Resource) output.Rows {
	rows := output.Rows{Header: []string{"NAME", "KIND", "SCOPE", "REVISION"}}
	for _, r := range list {
		revision := ""
		if r.Metadata.Revision > 0 {
			revision = strconv.FormatInt(r.Metadata.Revision, 10)
		}
		rows.Lines = append(rows.Lines, []string{r.Metadata.Name, r.Kind, r.Metadata.Scope, revision})
	}
	return rows
}

// reference reads KIND or KIND/NAME; kinds may be written in the plural.
func reference(text string) (kind, name string, one bool, err error) {
	word, name, one := strings.Cut(text, "/")
	if kind, err = kindOf(word); err != nil && !one {
		err = fault.Newf(fault.BadInput, "write KIND or KIND/NAME; the kinds are "+strings.Join(resource.KindNames(), ", "), "%q is not a kind", text)
	}
	if k, known := resource.KindOf(kind); err == nil && one && known && !k.ValidName(name) {
		err = fault.Newf(fault.BadInput, "write it like "+kind+"/NAME", "%q doesn't name a %s", text, kind)
	}
	return kind, name, one, err
}
