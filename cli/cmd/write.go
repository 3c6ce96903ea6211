package cmd

import (
	"context"
	"fmt"

	"github.com/stile-dev/stile/cli/output"
	"github.com/stile-dev/stile/pkg/escape"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/wire"
)

// writeAll writes the resources of a file in its order. What was written is printed even if a later one fails, because a
// token's secret can't be had again. It stops at the first that is refused, because later ones may rely on it, such as a
// mapping on a role that denies something.
func (a *app) writeAll(ctx context.Context, s session, list []entry, replace bool, f output.Format) error {
	made := []wire.Created{}
	var failed error
	for i, e := range list {
		if e.same != "" {
			if err := a.unchanged(e, f); err != nil {
				return err
			}
			continue
		}
		created, err := write(ctx, s, e.wire, replace)
		if err != nil {
			failed = silence(partly(e, len(made), list[i+1:], e.Locate(err)))
			break
		}
		made = append(made, created)
		if f == output.Table {
			if err := a.report(created, written(created, replace)); err != nil {
				return err
			}
		}
	}
	if f == output.Table || failed != nil && len(made) == 0 {
		return failed
	}
	if err := output.Print(a.Out, f, made, output.Rows{}); err != nil {
		return err
	}
	return failed
}

func (a *app) unchanged(e entry, f output.Format) error {
	if f != output.Table {
		return nil
	}
	return a.say(e.Kind, e.Metadata.Name, "unchanged, "+e.same)
}

// partly says which resource of a file was refused, how many were written before it, and which weren't tried any more.
func partly(e entry, made int, rest []entry, err error) error {
	var untried []string
	for _, r := range rest {
		if r.same == "" {
			untried = append(untried, r.name())
		}
	}
	if made == 0 && len(untried) == 0 {
		return err
	}
	done := count(made)
	if len(untried) > 0 {
		done += "; not tried: " + some(untried)
	}
	f := *fault.From(err)
	if len(f.Fields) > 0 {
		f.Message = "it can't be written" // the fields say why
	}
	f.Message = fmt.Sprintf("%s: %s (%s)", e.name(), f.Message, done)
	return &f
}

func count(made int) string {
	switch made {
	case 0:
		return "nothing was written before it"
	case 1:
		return "one was written before it"
	}
	return fmt.Sprintf("%d were written before it", made)
}

// write creates one resource or, with replace, replaces the one that may be there.
func write(ctx context.Context, s session, r wire.Resource, replace bool) (wire.Created, error) {
	if replace {
		created, err := s.client.UpdateResource(ctx, r)
		if fault.Is(err, fault.NotFound) && r.Metadata.Revision != 0 {
			return created, fault.Newf(fault.Conflict, "remove the revision to create it again", "there is no %s %s of revision %d", r.Kind, r.Metadata.Name, r.Metadata.Revision).Because(err)
		}
		if !fault.Is(err, fault.NotFound) {
			return created, err
		}
	}
	return s.client.CreateResource(ctx, r)
}

// written says what a write did: one that replaces may have found nothing to replace.
func written(c wire.Created, replace bool) string {
	if replace && c.Resource.Metadata.Revision > 1 {
		return "replaced"
	}
	return "created"
}

// report says what was done; a secret goes to standard output, a warning to standard error.
func (a *app) report(c wire.Created, verb string) error {
	if err := a.say(c.Resource.Kind, c.Resource.Metadata.Name, verb); err != nil {
		return err
	}
	if c.Warning != "" {
		a.warn(c.Warning)
	}
	if c.Secret == "" {
		return nil
	}
	_, err := fmt.Fprintf(a.Out, "secret of token/%s (shown once): %s\n", escape.Text(c.Resource.Metadata.Name), escape.Text(c.Secret))
	return err
}

func (a *app) say(kind, name, verb string) error {
	_, err := fmt.Fprintf(a.Out, "%s/%s %s\n", escape.Text(kind), escape.Text(name), verb)
	return err
}
