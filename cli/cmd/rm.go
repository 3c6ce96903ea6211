package cmd

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stile-dev/stile/pkg/fault"
)

func (a *app) rm() *cobra.Command {
	return &cobra.Command{
		Use:   "rm KIND/NAME...",
		Short: "Delete resources; what was issued by them is revoked at once",
		Long: "Delete resources; what was issued by them is revoked at once.\n" +
			"Deleting a user's record puts that person out, if you may change every iam_mapping; else it takes away what the record added.\n" +
			"Each is tried, also after one that can't be deleted. The exit status is that of the first that couldn't.",
		Example: "  stile rm role/developer\n  stile rm role/keeper user/bob",
		Args:    atLeast(1, "stile rm role/developer"),

		ValidArgsFunction: completeKinds("/", math.MaxInt),
		RunE: func(c *cobra.Command, args []string) error {
			targets, err := removals(args)
			if err != nil {
				return err
			}
			s, err := a.session()
			if err != nil {
				return err
			}
			return a.removeAll(c.Context(), s, targets)
		},
	}
}

// removal is a resource to delete, and why that failed.
type removal struct {
	kind, name string
	err        error
}

func (r removal) String() string { return r.kind + "/" + r.name }

func removals(args []string) ([]removal, error) {
	var list []removal
	for _, arg := range args {
		kind, name, one, err := reference(arg)
		if err != nil {
			return nil, err
		}
		if !one {
			return nil, fault.Newf(fault.BadInput, "write it like "+kind+"/NAME", "%q names a kind, not a resource", arg)
		}
		list = append(list, removal{kind: kind, name: name})
	}
	return list, nil
}

// removeAll deletes what it can. What is in conflict, such as a role that something gives, is tried once more if others
// were deleted. The error has a fault for each that is left, in their order.
func (a *app) removeAll(ctx context.Context, s session, list []removal) error {
	left, over, err := a.remove(ctx, s, list, func(removal) bool { return true })
	if err == nil && !over && len(left) < len(list) {
		left, _, err = a.remove(ctx, s, left, func(r removal) bool { return fault.Is(r.err, fault.Conflict) })
	}
	if err != nil {
		return err
	}
	return refused(left, len(list) > 1)
}

// remove deletes those that it is to try and returns what is left. It is over early when what failed would fail for all;
// those that it didn't come to have no error. The error is one of the output.
func (a *app) remove(ctx context.Context, s session, list []removal, try func(removal) bool) (left []removal, over bool, err error) {
	for _, r := range list {
		if over || !try(r) {
			left = append(left, r)
			continue
		}
		was, err := s.client.DeleteResource(ctx, r.kind, r.name)
		if err != nil {
			r.err, over = silence(err), hopeless(err)
			left = append(left, r)
			continue
		}
		if err := a.report(was, "deleted"); err != nil {
			return left, over, err
		}
	}
	return left, over, nil
}

// refused has a fault for each that failed, which names it where there are several, and the last one says what wasn't tried.
func refused(left []removal, several bool) error {
	var faults []error
	var untried []string
	for _, r := range left {
		if r.err == nil {
			untried = append(untried, r.String())
			continue
		}
		f := *fault.From(r.err)
		if several {
			f.Message = r.String() + ": " + f.Message
		}
		faults = append(faults, &f)
	}
	if n := len(faults); len(untried) > 0 && n > 0 {
		f := fault.From(faults[n-1])
		f.Message += " (not tried: " + some(untried) + ")"
	}
	return errors.Join(faults...)
}

// hopeless reports whether a failure is one of the connection or the login, and not of what was asked for.
func hopeless(err error) bool {
	f := fault.From(err)
	return errors.Is(err, context.Canceled) || f.Code.Passes() || f.Code == fault.Unauthenticated || f.Code == fault.Expired
}

// some lists a few names and says how many more there are.
func some(names []string) string {
	const few = 20
	if len(names) <= few {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:few], ", "), len(names)-few)
}
