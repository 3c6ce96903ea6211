package cmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"reflect"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stile-dev/stile/cli/output"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/resource"
	"github.com/stile-dev/stile/pkg/strict"
	"github.com/stile-dev/stile/pkg/wire"
)

func (a *app) create() *cobra.Command {
	var file string
	var replace bool
	c := &cobra.Command{
		Use:   "create -f FILE",
		Short: "Create resources from YAML",
		Long: "Create the resources of a YAML file: documents separated by ---, or a list as stile get prints it.\n" +
			"The whole file is checked before anything is created. What only the API can tell, such as whether a resource already exists, is checked one by one.\n" +
			"A join token's secret is printed once, here.",
		Example: "  stile create -f developer.yaml\n  stile get role/developer | sed s/8h/4h/ | stile create -f - --replace",
		Args:    exactly(0, "stile create -f FILE"),
	}
	c.Flags().StringVarP(&file, "file", "f", "", "the file, or - for the standard input")
	c.Flags().BoolVar(&replace, "replace", false, "replace resources that exist; one that states a revision, only if it is still current; built-in ones may be in the file as they are")
	format := formatFlag(c, output.Table, output.Formats...)
	c.RunE = func(c *cobra.Command, _ []string) error {
		f, err := format()
		if err != nil {
			return err
		}
		list, err := a.read(file)
		if err == nil {
			err = creatable(list, replace)
		}
		if err != nil {
			return fmt.Errorf("reading %s: %w", file, err)
		}
		s, err := a.session()
		if err != nil {
			return err
		}
		if err := unaltered(c.Context(), s, list); err != nil {
			return silence(err)
		}
		made := []wire.Created{}
		for _, e := range list {
			if e.builtin() {
				if f == output.Table {
					err = a.say(e.Kind, e.Metadata.Name, "unchanged, it is built in")
				}
				if err != nil {
					return err
				}
				continue
			}
			created, err := write(c.Context(), s, e.wire, replace)
			if err != nil {
				return silence(a.partly(made, e.wire, e.Locate(err)))
			}
			made = append(made, created)
			if f == output.Table {
				if err := a.report(created, written(created, replace)); err != nil {
					return err
				}
			}
		}
		if f == output.Table {
			return nil
		}
		return output.Print(a.Out, f, made, output.Rows{})
	}
	return c
}

// read decodes a file of resources as strictly as the API does, with line and column of what is wrong.
func (a *app) read(file string) ([]entry, error) {
	var text []byte
	var err error
	switch file {
	case "":
		return nil, fault.New(fault.BadInput, "no file was given", "type: stile create -f FILE")
	case "-":
		text, err = io.ReadAll(io.LimitReader(a.In, strict.MaxSize+1))
	default:
		text, err = readFile(file)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.Newf(fault.BadInput, "check the path given with -f", "there is no file %s", file)
	}
	if err != nil {
		return nil, fault.Newf(fault.BadInput, "check the path given with -f", "%s can't be read", file).Because(err)
	}
	decoded, err := resource.DecodeAll(text)
	if err != nil {
		return nil, err
	}
	list := make([]entry, len(decoded))
	for i, r := range decoded {
		list[i].Written = r
		if list[i].wire, err = toWire(r.Resource); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// entry is a resource of the file, and as the API takes it.
type entry struct {
	resource.Written
	wire wire.Resource
}

func (e entry) name() string { return e.Kind + "/" + e.Metadata.Name }

func (e entry) builtin() bool {
	k, _ := resource.KindOf(e.Kind)
	return k.Reserved(e.Metadata.Name)
}

const fixed = "it is built in and can't be changed; create your own under another name"

// creatable refuses what could only fail halfway: two resources of one name, and names that are built in.
func creatable(list []entry, replace bool) error {
	var faults []fault.Field
	seen := map[string]bool{}
	for _, e := range list {
		name := e.name()
		switch {
		case e.builtin() && !replace:
			faults = append(faults, fault.Field{Path: name, Reason: fixed})
		case seen[name]:
			faults = append(faults, fault.Field{Path: name, Reason: "it appears twice in the file; remove one"})
		}
		seen[name] = true
	}
	if len(faults) == 0 {
		return nil
	}
	return strict.Refuse(faults)
}

// unaltered refuses what is built in and stands in the file in another way than stile get prints it.
func unaltered(ctx context.Context, s session, list []entry) error {
	var faults []fault.Field
	for _, e := range list {
		if !e.builtin() {
			continue
		}
		have, err := s.client.GetResource(ctx, e.Kind, e.Metadata.Name)
		if err != nil && !fault.Is(err, fault.NotFound) {
			return err
		}
		if err != nil || have.Metadata.Scope != e.wire.Metadata.Scope || !reflect.DeepEqual(have.Spec, e.wire.Spec) {
			faults = append(faults, fault.Field{Path: e.name(), Reason: fixed})
		}
	}
	if len(faults) == 0 {
		return nil
	}
	return strict.Refuse(faults)
}

func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return io.ReadAll(io.LimitReader(f, strict.MaxSize+1))
}

func toWire(r resource.Resource) (wire.Resource, error) {
	spec, err := r.SpecJSON()
	if err != nil {
		return wire.Resource{}, err
	}
	w := wire.Resource{
		Kind:     r.Kind,
		Metadata: wire.Metadata{Name: r.Metadata.Name, Scope: r.Metadata.Scope, Revision: r.Metadata.Revision},
	}
	if err := json.Unmarshal(spec, &w.Spec); err != nil {
		return wire.Resource{}, fmt.Errorf("writing %s %q: %w", r.Kind, r.Metadata.Name, err)
	}
	return w, nil
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
	_, err := fmt.Fprintf(a.Out, "secret of token/%s (shown once): %s\n", output.Escape(c.Resource.Metadata.Name), output.Escape(c.Secret))
	return err
}

// partly adds how many resources were written when a later one in the file is refused.
func (a *app) partly(made []wire.Created, failed wire.Resource, err error) error {
	f := fault.From(err)
	if len(made) == 0 {
		return err
	}
	out := *f
	out.Message = fmt.Sprintf("%s/%s: %s (%s before it)", failed.Kind, failed.Metadata.Name, f.Message, count(len(made)))
	return &out
}

func count(made int) string {
	if made == 1 {
		return "one was written"
	}
	return fmt.Sprintf("%d were written", made)
}

func (a *app) say(kind, name, verb string) error {
	_, err := fmt.Fprintf(a.Out, "%s/%s %s\n", output.Escape(kind), output.Escape(name), verb)
	return err
}

// kindOf finds a kind by the word that people type.
func kindOf(word string) (string, error) {
	k, ok := resource.KindOf(word)
	if !ok {
		return "", fault.Newf(fault.BadInput, "use one of: "+strings.Join(resource.KindNames(), ", "), "there is no kind %q", word)
	}
	return k.Name, nil
}
