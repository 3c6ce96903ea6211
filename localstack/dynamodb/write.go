package dynamodb

import (
	"github.com/stile-dev/stile/localstack/dynamodb/expression"
	"github.com/stile-dev/stile/localstack/dynamodb/item"
	"github.com/stile-dev/stile/localstack/gate"
)

// writeResult answers a single write.
type writeResult struct {
	Attributes item.Item `json:",omitempty"`
}

type putRequest struct {
	writeRequest
	Item         item.Item
	ReturnValues string
}

// step reads the put itself.
func (r *putRequest) step(s *Server) (*step, error) {
	if r.Item == nil {
		return nil, constraint("item", "", "Member must not be null")
	}
	st, env, err := r.begin(s, "PutItem", false)
	if err != nil {
		return nil, err
	}
	st.item = r.Item
	return st, env.Unused()
}

func putItem(s *Server, c *gate.Call, r *putRequest) (any, error) {
	if err := checkReturns(r.ReturnValues); err != nil {
		return nil, err
	}
	st, err := r.step(s)
	if err != nil {
		return nil, err
	}
	return s.replace(c, st, r.ReturnValues)
}

// replace does a put or a delete, which answer alike.
func (s *Server) replace(c *gate.Call, st *step, returns string) (any, error) {
	o, err := s.alone(c, st)
	if err != nil {
		return nil, err
	}
	result := writeResult{}
	if returns == "ALL_OLD" {
		result.Attributes = o.before
	}
	return result, nil
}

type deleteRequest struct {
	writeRequest
	Key          item.Item
	ReturnValues string
}

func (r *deleteRequest) step(s *Server, action string) (*step, error) {
	if r.Key == nil {
		return nil, constraint("key", "", "Member must not be null")
	}
	st, env, err := r.begin(s, action, false)
	if err != nil {
		return nil, err
	}
	st.key = r.Key
	return st, env.Unused()
}

func deleteItem(s *Server, c *gate.Call, r *deleteRequest) (any, error) {
	if err := checkReturns(r.ReturnValues); err != nil {
		return nil, err
	}
	st, err := r.step(s, "DeleteItem")
	if err != nil {
		return nil, err
	}
	return s.replace(c, st, r.ReturnValues)
}

type updateRequest struct {
	writeRequest
	Key              item.Item
	UpdateExpression *string
	ReturnValues     string
}

func (r *updateRequest) step(s *Server) (*step, error) {
	if r.Key == nil {
		return nil, constraint("key", "", "Member must not be null")
	}
	st, env, err := r.begin(s, "UpdateItem", r.UpdateExpression != nil)
	if err != nil {
		return nil, err
	}
	st.key = r.Key
	if r.UpdateExpression != nil {
		if st.update, err = expression.ParseUpdate(*r.UpdateExpression, env); err != nil {
			return nil, err
		}
	}
	return st, env.Unused()
}

func updateItem(s *Server, c *gate.Call, r *updateRequest) (any, error) {
	if err := oneOf("returnValues", r.ReturnValues, "ALL_NEW", "UPDATED_OLD", "ALL_OLD", "NONE", "UPDATED_NEW"); err != nil {
		return nil, err
	}
	st, err := r.step(s)
	if err != nil {
		return nil, err
	}
	o, err := s.alone(c, st)
	if err != nil {
		return nil, err
	}
	result := writeResult{}
	switch {
	case r.ReturnValues == "ALL_OLD":
		result.Attributes = o.before
	case r.ReturnValues == "ALL_NEW":
		result.Attributes = o.after
	case r.ReturnValues == "UPDATED_OLD" && st.update != nil:
		result.Attributes = st.update.Touched(o.before)
	case r.ReturnValues == "UPDATED_NEW" && st.update != nil:
		result.Attributes = st.update.Touched(o.after)
	}
	return result, nil
}
