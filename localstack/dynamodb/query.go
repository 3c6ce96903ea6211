package dynamodb

import (
	"github.com/stile-dev/stile/localstack/dynamodb/expression"
	"github.com/stile-dev/stile/localstack/dynamodb/item"
	"github.com/stile-dev/stile/localstack/dynamodb/store"
	"github.com/stile-dev/stile/localstack/gate"
)

// maxPage is how many bytes of items one page of Query or Scan reads.
const maxPage = 1 << 20

// listRequest is what Query and Scan have in common.
type listRequest struct {
	bindings
	TableName         string
	FilterExpression  *string
	Limit             *int
	ExclusiveStartKey item.Item
	ConsistentRead    bool
}

// listing is a Query or Scan that has been read.
type listing struct {
	request *listRequest
	table   string
	meta    store.Table
	env     *expression.Env
	filter  *expression.Condition
}

type listResult struct {
	Items            []item.Item
	Count            int
	ScannedCount     int
	LastEvaluatedKey item.Item `json:",omitempty"`
}

// begin checks the common members and makes the environment; absent says which expressions are missing.
func (r *listRequest) begin(s *Server, absent string) (*listing, error) {
	name, err := s.named(r.TableName)
	if err != nil {
		return nil, err
	}
	if r.Limit != nil && *r.Limit < 1 {
		return nil, item.Invalid("Limit must be greater than or equal to 1")
	}
	if r.FilterExpression != nil {
		absent = ""
	}
	l := &listing{request: r, table: name}
	l.env, err = r.env(absent == "", absent)
	return l, err
}

// finish parses what follows the key condition, and refuses unused placeholders.
func (l *listing) finish() (err error) {
	if source := l.request.FilterExpression; source != nil {
		if l.filter, err = expression.ParseCondition(expression.FilterExpression, *source, l.env); err != nil {
			return err
		}
	}
	return l.env.Unused()
}

// start is the key after which the page begins.
func (l *listing) start() (*item.Key, error) {
	if l.request.ExclusiveStartKey == nil {
		return nil, nil
	}
	key, err := l.meta.Schema.KeyOf(l.request.ExclusiveStartKey)
	if err != nil {
		return nil, item.Invalid("The provided starting key is invalid: The provided key element does not match the schema")
	}
	return &key, nil
}

// page gathers one page.
type page struct {
	listing *listing
	items   []item.Item
	scanned int
	bytes   int
	last    item.Item // the last item looked at
	more    bool
}

// take looks at one item and tells whether the page goes on.
func (p *page) take(i item.Item) bool {
	size := i.Size()
	if p.scanned > 0 && p.bytes+size > maxPage {
		p.more = true
		return false
	}
	p.bytes += size
	p.scanned++
	p.last = i
	if p.listing.filter.Holds(i) {
		p.items = append(p.items, i)
	}
	p.more = p.listing.request.Limit != nil && p.scanned == *p.listing.request.Limit
	return !p.more
}

// result is the page as it is answered.
func (p *page) result() listResult {
	l := p.listing
	out := listResult{Items: append([]item.Item{}, p.items...), Count: len(p.items), ScannedCount: p.scanned}
	if p.more {
		out.LastEvaluatedKey = l.meta.Schema.Only(p.last)
	}
	return out
}

type queryRequest struct {
	listRequest
	KeyConditionExpression *string
	ScanIndexForward       *bool
}

func query(s *Server, c *gate.Call, r *queryRequest) (any, error) {
	absent := ""
	if r.KeyConditionExpression == nil {
		absent = "FilterExpression and KeyConditionExpression are null"
	}
	l, err := r.begin(s, absent)
	if err != nil {
		return nil, err
	}
	if r.KeyConditionExpression == nil {
		return nil, item.Invalid("Either the KeyConditions or KeyConditionExpression parameter must be specified in the request.")
	}
	keys, err := expression.ParseKeyCondition(*r.KeyConditionExpression, l.env)
	if err != nil {
		return nil, err
	}
	if err := l.finish(); err != nil {
		return nil, err
	}
	if err := s.allowQuery(c, l, keys); err != nil {
		return nil, err
	}
	return s.runQuery(l, keys, r.ScanIndexForward == nil || *r.ScanIndexForward)
}

// allowQuery authorises a query and finds its table.
func (s *Server) allowQuery(c *gate.Call, l *listing, keys *expression.KeyExpression) error {
	var found bool
	l.meta, found = s.lookup(l.table)
	var leading []string
	if v, ok := keys.Hash(l.meta.Schema.Hash.Name); ok && v.Kind.Ordered() {
		leading = []string{v.Plain()}
	}
	if err := s.allow(c, access{action: "Query", table: l.table, leading: leading}); err != nil {
		return err
	}
	if !found {
		return notFound("")
	}
	return nil
}

func (s *Server) runQuery(l *listing, keys *expression.KeyExpression, forward bool) (any, error) {
	for _, name := range l.filter.Attributes() {
		if l.meta.Schema.Has(name) {
			return nil, item.Invalid("Filter Expression can only contain non-primary key attributes: Primary key attribute: " + name)
		}
	}
	where, err := keys.Bind(l.meta.Schema)
	if err != nil {
		return nil, err
	}
	span := store.Span{Hash: where.Hash.Sortable(), Backward: !forward}
	span.From, span.To, span.Open = where.Span()
	after, err := l.start()
	if err != nil {
		return nil, err
	}
	if after != nil {
		sort := l.request.ExclusiveStartKey[l.meta.Schema.Range.Name]
		if after.Hash != span.Hash {
			return nil, item.Invalid("The provided starting key is outside query boundaries based on provided conditions")
		}
		if !where.Accepts(sort) {
			return nil, item.Invalid("The provided starting key does not match the range key predicate")
		}
		span.After = &after.Range
	}
	p := &page{listing: l}
	s.store.Read(func(r *store.Reader) {
		r.Query(l.table, span, func(i item.Item) bool {
			return !where.Accepts(i[l.meta.Schema.Range.Name]) || p.take(i)
		})
	})
	return p.result(), nil
}
