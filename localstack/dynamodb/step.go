package dynamodb

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"

	"github.com/stile-dev/stile/localstack/dynamodb/expression"
	"github.com/stile-dev/stile/localstack/dynamodb/item"
	"github.com/stile-dev/stile/localstack/dynamodb/store"
	"github.com/stile-dev/stile/localstack/gate"
)

// step is one write, alone or in a transaction or batch: put, update, delete or only a check.
type step struct {
	action    string // PutItem, UpdateItem, DeleteItem or ConditionCheckItem
	table     string
	item      item.Item // of a put
	key       item.Item // of the others
	update    *expression.Update
	condition *expression.Condition
	onFailure string // ReturnValuesOnConditionCheckFailure

	meta store.Table // once found
	at   item.Key    // once resolved
}

// outcome is an item before and after a step.
type outcome struct{ before, after item.Item }

// bindings are the placeholders of a request, whose values are validated one by one.
type bindings struct {
	ExpressionAttributeNames  map[string]string
	ExpressionAttributeValues values
}

type values map[string]item.Value

// UnmarshalJSON reads the values and names the one that is at fault.
func (v *values) UnmarshalJSON(data []byte) error {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(data, &members); err != nil || members == nil {
		return err
	}
	*v = make(values, len(members))
	for name, raw := range members {
		var one item.Value
		err := json.Unmarshal(raw, &one)
		if invalid, ok := errors.AsType[item.Invalid](err); ok {
			return item.Invalid("ExpressionAttributeValues contains invalid value: " + string(invalid) + " for key " + name)
		}
		if err != nil {
			return err
		}
		(*v)[name] = one
	}
	return nil
}

func (b bindings) env(expressions bool, absent string) (*expression.Env, error) {
	return expression.NewEnv(expression.Bindings{Names: b.ExpressionAttributeNames, Values: b.ExpressionAttributeValues}, expressions, absent)
}

// writeRequest is what every write has in common.
type writeRequest struct {
	bindings
	TableName                           string
	ConditionExpression                 *string
	ReturnValuesOnConditionCheckFailure string
}

// begin parses the condition of a write and hands out the environment for further expressions.
func (w writeRequest) begin(s *Server, action string, more bool) (*step, *expression.Env, error) {
	name, err := s.named(w.TableName)
	if err != nil {
		return nil, nil, err
	}
	if err := oneOf("returnValuesOnConditionCheckFailure", w.ReturnValuesOnConditionCheckFailure, "ALL_OLD", "NONE"); err != nil {
		return nil, nil, err
	}
	absent := ""
	if w.ConditionExpression == nil && !more {
		absent = "ConditionExpression is null"
		if action == "UpdateItem" {
			absent = "UpdateExpression and ConditionExpression are null"
		}
	}
	env, err := w.env(w.ConditionExpression != nil || more, absent)
	if err != nil {
		return nil, nil, err
	}
	st := &step{action: action, table: name, onFailure: w.ReturnValuesOnConditionCheckFailure}
	if w.ConditionExpression != nil {
		st.condition, err = expression.ParseCondition(expression.ConditionExpression, *w.ConditionExpression, env)
	}
	return st, env, err
}

// find looks the table up; whether it exists is revealed only after authorisation.
func (st *step) find(s *Server) (found bool) {
	st.meta, found = s.lookup(st.table)
	return found
}

// access is what the step touches.
func (st *step) access() access {
	return access{action: st.action, table: st.table, leading: leadingKey(st.meta, st.target())}
}

// target is the item or key that the step names.
func (st *step) target() item.Item {
	if st.action == "PutItem" {
		return st.item
	}
	return st.key
}

// resolve checks the step against the table's schema.
func (st *step) resolve() error {
	var err error
	if st.action != "PutItem" {
		st.at, err = st.meta.Schema.KeyOf(st.key)
		if err != nil || st.update == nil {
			return err
		}
		for _, name := range st.update.Writes() {
			if st.meta.Schema.Has(name) {
				return item.Invalid("One or more parameter values were invalid: Cannot update attribute " + name + ". This attribute is part of the key")
			}
		}
		return nil
	}
	if st.at, err = st.meta.Schema.KeyIn(st.item); err != nil {
		return err
	}
	if st.item.Size() > item.MaxSize {
		return item.Invalid("Item size has exceeded the maximum allowed size")
	}
	return nil
}

// run does the step.
func (st *step) run(tx *store.Tx) (outcome, error) {
	meta, ok := tx.Table(st.table)
	if !ok || meta.ID != st.meta.ID {
		return outcome{}, notFound("")
	}
	o := outcome{before: tx.Get(meta, st.at)}
	if !st.condition.Holds(o.before) {
		return o, st.refused(o.before)
	}
	switch st.action {
	case "ConditionCheckItem":
		o.after = o.before
		return o, nil
	case "PutItem":
		o.after = st.item
	case "UpdateItem":
		var err error
		if o.after, err = st.updated(o.before); err != nil {
			return o, err
		}
	}
	tx.Put(meta, st.at, o.after, nil)
	return o, nil
}

func (st *step) updated(before item.Item) (item.Item, error) {
	base := before
	if base == nil {
		base = st.key
	}
	if st.update == nil {
		return base, nil
	}
	after, err := st.update.Apply(base)
	if err == nil && after.Size() > item.MaxSize {
		err = item.Invalid("Item size to update has exceeded the maximum allowed size")
	}
	return after, err
}

// refused is the answer when the condition doesn't hold.
func (st *step) refused(old item.Item) error {
	e := &gate.Error{Code: "ConditionalCheckFailedException", Message: "The conditional request failed", Status: http.StatusBadRequest}
	if st.onFailure == "ALL_OLD" && old != nil {
		e.Fields = map[string]any{"Item": old}
	}
	return e
}

// alone authorises and does a single step.
func (s *Server) alone(c *gate.Call, st *step) (outcome, error) {
	found := st.find(s)
	if err := s.allow(c, st.access()); err != nil {
		return outcome{}, err
	}
	if !found {
		return outcome{}, notFound("")
	}
	if err := st.resolve(); err != nil {
		return outcome{}, err
	}
	var o outcome
	err := s.store.Update(c.HTTP.Context(), func(tx *store.Tx) (err error) {
		o, err = st.run(tx)
		return err
	})
	return o, err
}

// returnable are the values of ReturnValues that an operation other than UpdateItem takes.
var returnable = []string{"", "NONE", "ALL_OLD"}

func checkReturns(value string) error {
	if err := oneOf("returnValues", value, "ALL_NEW", "UPDATED_OLD", "ALL_OLD", "NONE", "UPDATED_NEW"); err != nil {
		return err
	}
	if !slices.Contains(returnable, value) {
		return item.Invalid("ReturnValues can only be ALL_OLD or NONE")
	}
	return nil
}
