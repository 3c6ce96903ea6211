package dynamodb

import (
	"slices"

	"github.com/stile-dev/stile/localstack/dynamodb/item"
	"github.com/stile-dev/stile/localstack/dynamodb/store"
	"github.com/stile-dev/stile/localstack/gate"
	"github.com/stile-dev/stile/localstack/iam"
)

// access is what one action touches, as policies see it.
type access struct {
	action  string   // without dynamodb:
	table   string   // its name
	leading []string // values of the partition key; nil when the action names none
}

// allow asks whether the caller may do what a describes.
func (s *Server) allow(c *gate.Call, a access) error {
	context := map[string][]string{}
	if len(a.leading) > 0 {
		context["dynamodb:LeadingKeys"] = unique(a.leading)
	}
	return c.Authorize(iam.Query{Action: "dynamodb:" + a.action, Resource: s.tableARN(a.table), Context: context})
}

// allowStream asks whether the caller may do the action on a stream.
func (s *Server) allowStream(c *gate.Call, action, arn string) error {
	return c.Authorize(iam.Query{Action: "dynamodb:" + action, Resource: arn})
}

func unique(list []string) []string {
	sorted := slices.Clone(list)
	slices.Sort(sorted)
	return slices.Compact(sorted)
}

// lookup is the table of that name.
func (s *Server) lookup(name string) (meta store.Table, ok bool) {
	s.store.Read(func(r *store.Reader) { meta, ok = r.Table(name) })
	return meta, ok
}

// leadingKey is the value of the partition key in a key or an item, as policies see it.
func leadingKey(meta store.Table, i item.Item) []string {
	v, ok := i[meta.Schema.Hash.Name]
	if !ok || !v.Kind.Ordered() {
		return nil
	}
	return []string{v.Plain()}
}

// allowAny asks whether the caller may do an action that has no resource.
func (s *Server) allowAny(c *gate.Call, action string) error {
	return c.Authorize(iam.Query{Action: "dynamodb:" + action, Resource: "*"})
}
