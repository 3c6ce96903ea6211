package dynamodb

import (
	"github.com/stile-dev/stile/localstack/dynamodb/expression"
	"github.com/stile-dev/stile/localstack/dynamodb/item"
	"github.com/stile-dev/stile/localstack/dynamodb/store"
	"github.com/stile-dev/stile/localstack/gate"
)

// pick is one read: a key and what is wanted from its item.
type pick struct {
	table      string
	key        item.Item
	projection *expression.Projection
	meta       store.Table
	at         item.Key
}

type getRequest struct {
	legacy
	TableName                string
	Key                      item.Item
	ConsistentRead           bool
	ProjectionExpression     *string
	ExpressionAttributeNames map[string]string
	ReturnConsumedCapacity   string
}

type getResult struct {
	Item             *item.Item `json:",omitempty"`
	ConsumedCapacity *capacity  `json:",omitempty"`
}

func (r *getRequest) pick(s *Server) (*pick, error) {
	name, err := s.named(r.TableName)
	if err != nil {
		return nil, err
	}
	if r.Key == nil {
		return nil, constraint("key", "", "Member must not be null")
	}
	p := &pick{table: name, key: r.Key}
	p.projection, err = projection(r.ProjectionExpression, r.ExpressionAttributeNames)
	return p, err
}

// projection parses a projection that is alone in its request.
func projection(source *string, names map[string]string) (*expression.Projection, error) {
	env, err := expression.NewEnv(expression.Bindings{Names: names}, source != nil, "")
	if err != nil || source == nil {
		return nil, err
	}
	p, err := expression.ParseProjection(*source, env)
	if err != nil {
		return nil, err
	}
	return p, env.Unused()
}

// access is what the read touches.
func (p *pick) access(action string) access {
	return access{action: action, table: p.table, leading: leadingKey(p.meta, p.key)}
}

// resolve checks the key against the schema.
func (p *pick) resolve() (err error) {
	p.at, err = p.meta.Schema.KeyOf(p.key)
	return err
}

// read is the wanted part of the item, and the whole item's size; nil when there is none.
func (p *pick) read(r *store.Reader) (*item.Item, int) {
	found := r.Get(p.table, p.at)
	if found == nil {
		return nil, 0
	}
	size := found.Size()
	if p.projection != nil {
		found = p.projection.Apply(found)
	}
	return &found, size
}

func getItem(s *Server, c *gate.Call, r *getRequest) (any, error) {
	p, err := r.pick(s)
	if err != nil {
		return nil, err
	}
	if err := checkCapacity(r.ReturnConsumedCapacity); err != nil {
		return nil, err
	}
	var ok bool
	p.meta, ok = s.lookup(p.table)
	if err := s.allow(c, p.access("GetItem")); err != nil {
		return nil, err
	}
	if !ok {
		return nil, notFound("")
	}
	if err := p.resolve(); err != nil {
		return nil, err
	}
	var result getResult
	var size int
	s.store.Read(func(r *store.Reader) { result.Item, size = p.read(r) })
	result.ConsumedCapacity = consumed(r.ReturnConsumedCapacity, p.table, readUnits(size, r.ConsistentRead))
	return result, nil
}
