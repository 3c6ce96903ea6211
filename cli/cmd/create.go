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
			"The whole file is checked before anything is created. What only the API can tell, such as whether a resource already exists, is checked one by one:\n" +
			"the first that is refused ends the command, which then says what was written and what wasn't tried.\n" +
			"A join token's secret is printed once, here.",
		Example: "  stile create -f developer.yaml\n  stile get role/developer | sed s/8h/4h/ | stile create -f - --replace",
		Args:    exactly(0, "stile create -f FILE"),
	}
	c.Flags().StringVarP(&file, "file", "f", "", "the file, or - for the standard input")
	c.Flags().BoolVar(&replace, "replace", false, "replace resources that exist; one that states a revision, only if it is still current; built-in ones and tokens with a secret may be in the file as they are")
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
		if err := unaltered(c.Context(), s, list, replace); err != nil {
			return silence(err)
		}
		return a.writeAll(c.Context(), s, list, replace, f)
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
	same string // why it stays as it is, though it is in the file
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

// secret reports whether it is a token with a secret: one that exists can't be changed.
func (e entry) secret() bool {
	t, ok := e.Spec.(*resource.TokenSpec)
	return ok && t.Method == resource.MethodToken
}

// unaltered marks what can't be changed and stands in the file as stile get prints it, and refuses it otherwise. A token
// that can't be read is left to the API, which creates it or says why not.
func unaltered(ctx context.Context, s session, list []entry, replace bool) error {
	var faults []fault.Field
	for i, e := range list {
		why, wrong := "it is built in", fixed
		if e.secret() && replace {
			why, wrong = "it has a secret", "a token that has a secret can't be changed; delete it and create it again"
		} else if !e.builtin() {
			continue
		}
		have, err := s.client.GetResource(ctx, e.Kind, e.Metadata.Name)
		absent := fault.Is(err, fault.NotFound)
		switch {
		case e.secret() && (absent || fault.Is(err, fault.Denied)):
		case err != nil && !absent:
			return err
		case err == nil && e.as(have):
			list[i].same = why
		default:
			faults = append(faults, fault.Field{Path: e.name(), Reason: wrong})
		}
	}
	if len(faults) == 0 {
		return nil
	}
	return strict.Refuse(faults)
}

// as reports whether writing the entry would change nothing of what there is. Without a revision it is of any.
func (e entry) as(have wire.Resource) bool {
	is := e.wire.Metadata
	return (is.Revision == 0 || is.Revision == have.Metadata.Revision) &&
		have.Metadata.Scope == is.Scope && reflect.DeepEqual(have.Spec, e.wire.Spec)
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

// kindOf finds a kind by the word that people type.
func kindOf(word string) (string, error) {
	k, ok := resource.KindOf(word)
	if !ok {
		return "", fault.Newf(fault.BadInput, "use one of: "+strings.Join(resource.KindNames(), ", "), "there is no kind %q", word)
	}
	return k.Name, nil
}
