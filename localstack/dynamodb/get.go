package dynamodb

import (
	"github.com/stile-dev/stile/localstack/dynamodb/item"
	"github.com/stile-dev/stile/localstack/dynamodb/store"
	"github.com/stile-dev/stile/localstack/gate"
)

// pick is one read.
type pick struct {
	table string
	key   item.Item
	meta  store.Table
	at    item.Key
}

type getRequest struct {
	TableName      string
	Key            item.Item
	ConsistentRead bool
}

type getResult struct {
	Item *item.Item `json:",omitempty"`
}

func (r *getRequest) pick(s *Server) (*pick, error) {
	name, err := s.named(r.TableName)
	if err != nil {
		return nil, err
	}
	if r.Key == nil {
		return nil, constraint("key", "", "Member must not be null")
	}
	return &pick{table: name, key: r.Key}, nil
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

// read is the item; nil when there is none.
func (p *pick) read(r *store.Reader) *item.Item {
	if found := r.Get(p.table, p.at); found != nil {
		return &found
	}
	return nil
}

func getItem(s *Server, c *gate.Call, r *getRequest) (any, error) {
	p, err := r.pick(s)
	if err != nil {
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
	s.store.Read(func(r *store.Reader) { result.Item = p.read(r) })
	return result, nil
}
