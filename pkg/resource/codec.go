package resource

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/strict"
)

// Resource is a resource of any kind.
type Resource struct {
	Kind     string   `json:"kind"`
	Metadata Metadata `json:"metadata"`
	Spec     Spec     `json:"spec"` // never nil
}

// Role returns the resource as a role, if it is one.
func (r Resource) Role() (Role, bool) {
	s, ok := r.Spec.(*RoleSpec)
	if !ok {
		return Role{}, false
	}
	return Role{Metadata: r.Metadata, Spec: *s}, true
}

// SpecJSON writes the body alone, as it is stored. A body that [DecodeSpec] would find too large is refused as
// [fault.BadInput]: what is stored can be read.
func (r Resource) SpecJSON() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false) // else a body may be six times what was sent
	if err := e.Encode(r.Spec); err != nil {
		return nil, fmt.Errorf("writing %s %q: %w", r.Kind, r.Metadata.Name, err)
	}
	spec := bytes.TrimSuffix(b.Bytes(), []byte("\n"))
	if len(spec) > strict.MaxSize {
		return nil, fault.Newf(fault.BadInput, "split it into several", "%s %q would take %d bytes; at most %d can be stored", r.Kind, r.Metadata.Name, len(spec), strict.MaxSize)
	}
	return spec, nil
}

// Written is a resource of a file.
type Written struct {
	Resource
	node *strict.Node
}

// Locate adds line and column of the file to the fields that a fault names, such as one of the API, which knows only paths.
func (w Written) Locate(err error) error {
	f := fault.From(err)
	if len(f.Fields) == 0 || !strings.HasPrefix(f.Message, strict.Refuse(f.Fields[:1]).Message) {
		return err
	}
	fields := slices.Clone(f.Fields)
	for i := range fields {
		fields[i].Path = w.node.Place(fields[i].Path)
	}
	out := *f
	out.Message, out.Fields = strict.Refuse(fields).Message, fields
	return &out
}

// DecodeAll reads all resources of a YAML file: documents separated by ---, each one resource or a list of them. There
// must be at least one. All are validated; faults are [fault.BadInput], all at once, each with line, column and path.
func DecodeAll(yaml []byte) ([]Written, error) {
	documents, err := strict.ParseYAML(yaml, strict.MaxSize)
	if err != nil {
		return nil, err
	}
	if len(documents) == 0 {
		return nil, fault.New(fault.BadInput, "there is no resource in the file", "write kind, metadata and spec")
	}
	var all []Written
	var faults []fault.Field
	var single []*strict.Node
	for _, d := range documents {
		if items := d.Items(); len(items) > 0 { // as lists are printed
			single = append(single, items...)
		} else {
			single = append(single, d)
		}
	}
	for _, d := range single {
		r, err := decode("", d)
		if err != nil {
			faults = append(faults, fault.From(err).Fields...)
			continue
		}
		all = append(all, Written{r, d})
	}
	if len(faults) > 0 {
		return nil, strict.Refuse(faults)
	}
	return all, nil
}

// DecodeJSON reads one resource from JSON and validates it; the kind must be the given one. Faults are [fault.BadInput],
// all at once, with paths alone.
func DecodeJSON(kind string, data []byte) (Resource, error) {
	n, err := strict.ParseJSON(data, strict.MaxSize)
	if err != nil {
		return Resource{}, err
	}
	return decode(kind, n)
}

// DecodeSpec reads what [Resource.SpecJSON] wrote, beside metadata that is kept elsewhere. It checks types and
// keys but not values: a stored resource stays readable when the rules for writing one get stricter. Package
// policy checks what it decides from.
func DecodeSpec(kind string, m Metadata, spec []byte) (Resource, error) {
	k, ok := KindOf(kind)
	if !ok {
		return Resource{}, unknownKind(kind)
	}
	r := Resource{Kind: k.Name, Metadata: m, Spec: k.spec()}
	if err := strict.JSON(spec, strict.MaxSize, r.Spec); err != nil {
		return Resource{}, fmt.Errorf("reading %s %q: %w", k.Name, m.Name, err)
	}
	return r, nil
}

func unknownKind(kind string) error {
	return fault.Newf(fault.BadInput, "use one of: "+strings.Join(KindNames(), ", "), "there is no kind %q", kind)
}

// decode reads in two steps: the envelope says which kind of body follows.
func decode(kind string, n *strict.Node) (Resource, error) {
	named := n.Get("kind")
	if named == nil || named.Type != strict.String {
		return Resource{}, strict.Refuse([]fault.Field{{Path: n.Place("kind"), Reason: "write kind: and one of " + strings.Join(writtenKinds(), ", ")}})
	}
	i := slices.IndexFunc(Kinds, func(k Kind) bool { return k.Name == named.Text })
	if i < 0 {
		return Resource{}, strict.Refuse([]fault.Field{{
			Path:   n.Place("kind"),
			Reason: fmt.Sprintf("there is no kind %q; write one of %s", named.Text, strings.Join(writtenKinds(), ", ")),
		}})
	}
	k := Kinds[i]
	if want, ok := KindOf(kind); kind != "" && (!ok || want.Name != k.Name) {
		return Resource{}, strict.Refuse([]fault.Field{{Path: n.Place("kind"), Reason: fmt.Sprintf("this is a %s where a %s is expected", k.Name, kind)}})
	}
	if !k.Writable {
		return Resource{}, strict.Refuse([]fault.Field{{Path: n.Place("kind"), Reason: k.Plural + " can't be written: agents create them by joining; read them with get, free a name with rm"}})
	}
	r := Resource{Kind: k.Name, Spec: k.spec()}
	if err := n.Into(&r, strict.Options{Scalars: true, Written: true}); err != nil {
		return Resource{}, err
	}
	if r.Spec == nil {
		r.Spec = k.spec()
	}
	if r.Metadata.Scope == "" {
		r.Metadata.Scope = "/"
	}
	if faults := r.Validate(); len(faults) > 0 {
		for i := range faults {
			faults[i].Path = n.Place(faults[i].Path)
		}
		return Resource{}, strict.Refuse(faults)
	}
	return r, nil
}
