package dynamodb

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/stile-dev/stile/localstack/dynamodb/item"
	"github.com/stile-dev/stile/localstack/dynamodb/store"
	"github.com/stile-dev/stile/localstack/gate"
)

// Limits of transactions.
const (
	maxTransact      = 100
	maxTransactBytes = 4 << 20
	tokenLife        = 10 * time.Minute
	maxToken         = 36
)

type transactWriteRequest struct {
	TransactItems      []transactWrite
	ClientRequestToken *string
}

type transactWrite struct {
	ConditionCheck *deleteRequest
	Put            *putRequest
	Delete         *deleteRequest
	Update         *updateRequest
}

type transactWriteResult struct{}

// reason says in a TransactionCanceledException what happened to one of the items.
type reason struct {
	Code    string
	Message string    `json:",omitempty"`
	Item    item.Item `json:",omitempty"`
}

// step reads the one action of an entry.
func (t transactWrite) step(s *Server, position int) (*step, error) {
	given := 0
	for _, set := range []bool{t.ConditionCheck != nil, t.Put != nil, t.Delete != nil, t.Update != nil} {
		if set {
			given++
		}
	}
	switch {
	case given == 0:
		return nil, item.Invalid("Invalid Request: TransactWriteRequest should contain Delete or Put or Update request")
	case given > 1:
		return nil, item.Invalid("TransactItems can only contain one of Check, Put, Update or Delete")
	case t.ConditionCheck != nil:
		if t.ConditionCheck.ConditionExpression == nil {
			return nil, constraint(fmt.Sprintf("transactItems.%d.member.conditionCheck.conditionExpression", position), "", "Member must not be null")
		}
		return t.ConditionCheck.step(s, "ConditionCheckItem")
	case t.Put != nil:
		return t.Put.step(s)
	case t.Delete != nil:
		return t.Delete.step(s, "DeleteItem")
	case t.Update.UpdateExpression == nil:
		return nil, constraint(fmt.Sprintf("transactItems.%d.member.update.updateExpression", position), "", "Member must not be null")
	}
	return t.Update.step(s)
}

func checkTransact(count int) error {
	switch {
	case count == 0:
		return constraint("transactItems", "[]", "Member must have length greater than or equal to 1")
	case count > maxTransact:
		return constraint("transactItems", fmt.Sprintf("[%d items]", count), "Member must have length less than or equal to 100")
	}
	return nil
}

func (r *transactWriteRequest) steps(s *Server) ([]*step, error) {
	if err := checkTransact(len(r.TransactItems)); err != nil {
		return nil, err
	}
	if token := r.ClientRequestToken; token != nil && (*token == "" || len(*token) > maxToken) {
		rule := "Member must have length less than or equal to 36"
		if *token == "" {
			rule = "Member must have length greater than or equal to 1"
		}
		return nil, constraint("clientRequestToken", *token, rule)
	}
	steps := make([]*step, len(r.TransactItems))
	for n, t := range r.TransactItems {
		var err error
		if steps[n], err = t.step(s, n+1); err != nil {
			return nil, err
		}
	}
	return steps, nil
}

func transactWriteItems(s *Server, c *gate.Call, r *transactWriteRequest) (any, error) {
	steps, err := r.steps(s)
	if err != nil {
		return nil, err
	}
	if err := s.allowTransaction(c, steps); err != nil {
		return nil, err
	}
	if err := resolveAll(steps); err != nil {
		return nil, err
	}
	fingerprint, err := r.fingerprint()
	if err != nil {
		return nil, err
	}
	err = s.store.Update(c.HTTP.Context(), func(tx *store.Tx) error {
		if r.ClientRequestToken == nil {
			return transact(tx, steps)
		}
		return once(tx, *r.ClientRequestToken, fingerprint, func() error { return transact(tx, steps) })
	})
	return transactWriteResult{}, err
}

// fingerprint tells requests with the same token apart.
func (r *transactWriteRequest) fingerprint() ([32]byte, error) {
	text, err := json.Marshal(r.TransactItems)
	if err != nil {
		return [32]byte{}, fmt.Errorf("fingerprinting a transaction: %w", err)
	}
	return sha256.Sum256(text), nil
}

// once runs work unless the token has been used for the same request within its life.
func once(tx *store.Tx, token string, request [32]byte, work func() error) error {
	if held, ok := tx.Token(token); ok {
		if held.Request != request {
			return &gate.Error{Code: "IdempotentParameterMismatchException", Message: "The request uses the same client token as a previous, but non-identical request. Do not reuse a client token with different requests, unless the requests are identical", Status: http.StatusBadRequest}
		}
		return nil
	}
	if err := work(); err != nil {
		return err
	}
	tx.PutToken(token, store.Token{Request: request, Expires: tx.Now().Add(tokenLife)})
	return nil
}

// allowTransaction authorises each inner action, and only then reports tables that aren't there.
func (s *Server) allowTransaction(c *gate.Call, steps []*step) error {
	missing := false
	for _, st := range steps {
		missing = !st.find(s) || missing
		if err := s.allow(c, st.access()); err != nil {
			return err
		}
	}
	if missing {
		return notFound("")
	}
	return nil
}

// target is an item in a table.
type target struct {
	table string
	key   item.Key
}

// resolveAll checks all steps against their schemas; faults become cancellation reasons.
func resolveAll(steps []*step) error {
	reasons := make([]reason, len(steps))
	seen := map[target]bool{}
	failed, total := false, 0
	for n, st := range steps {
		if err := st.resolve(); err != nil {
			var why error
			if reasons[n], why = cancelled(err); why != nil {
				return why
			}
			failed = true
			continue
		}
		reasons[n].Code = "None"
		at := target{table: st.table, key: st.at}
		if seen[at] {
			return item.Invalid("Transaction request cannot include multiple operations on one item")
		}
		seen[at] = true
		total += st.target().Size()
	}
	if total > maxTransactBytes {
		return item.Invalid(fmt.Sprintf("Transaction payload size cannot exceed 4MB. Payload Size: %d", total))
	}
	if failed {
		return cancel(reasons)
	}
	return nil
}

// transact runs all steps, or says why each of them failed.
func transact(tx *store.Tx, steps []*step) error {
	reasons := make([]reason, len(steps))
	failed := false
	for n, st := range steps {
		_, err := st.run(tx)
		reasons[n] = reason{Code: "None"}
		if err != nil {
			var why error
			if reasons[n], why = cancelled(err); why != nil {
				return why
			}
			failed = true
		}
	}
	if failed {
		return cancel(reasons)
	}
	return nil
}

// cancelled is the reason that a step's error makes; errors that aren't a step's own come back.
func cancelled(err error) (reason, error) {
	var aws *gate.Error
	var invalid item.Invalid
	switch {
	case errors.As(err, &aws) && aws.Code == "ConditionalCheckFailedException":
		r := reason{Code: "ConditionalCheckFailed", Message: aws.Message}
		r.Item, _ = aws.Fields["Item"].(item.Item)
		return r, nil
	case errors.As(err, &invalid):
		return reason{Code: "ValidationError", Message: string(invalid)}, nil
	}
	return reason{}, err
}

func cancel(reasons []reason) error {
	codes := make([]string, len(reasons))
	for n, r := range reasons {
		codes[n] = r.Code
	}
	return &gate.Error{
		Code:    "TransactionCanceledException",
		Message: "Transaction cancelled, please refer cancellation reasons for specific reasons [" + strings.Join(codes, ", ") + "]",
		Status:  http.StatusBadRequest,
		Fields:  map[string]any{"CancellationReasons": slices.Clone(reasons)},
	}
}

type transactGetRequest struct {
	TransactItems []struct{ Get *getRequest }
}

type transactGetResult struct {
	Responses []getResult
}

func transactGetItems(s *Server, c *gate.Call, r *transactGetRequest) (any, error) {
	if err := checkTransact(len(r.TransactItems)); err != nil {
		return nil, err
	}
	picks := make([]*pick, len(r.TransactItems))
	for n, t := range r.TransactItems {
		if t.Get == nil {
			return nil, constraint(fmt.Sprintf("transactItems.%d.member.get", n+1), "", "Member must not be null")
		}
		var err error
		if picks[n], err = t.Get.pick(s); err != nil {
			return nil, err
		}
	}
	if err := s.allowReads(c, picks); err != nil {
		return nil, err
	}
	if err := resolveReads(picks); err != nil {
		return nil, err
	}
	out := transactGetResult{Responses: make([]getResult, len(picks))}
	s.store.Read(func(r *store.Reader) {
		for n, p := range picks {
			out.Responses[n].Item = p.read(r)
		}
	})
	return out, nil
}

func (s *Server) allowReads(c *gate.Call, picks []*pick) error {
	missing := false
	for _, p := range picks {
		var found bool
		p.meta, found = s.lookup(p.table)
		missing = missing || !found
		if err := s.allow(c, p.access("GetItem")); err != nil {
			return err
		}
	}
	if missing {
		return notFound("")
	}
	return nil
}

func resolveReads(picks []*pick) error {
	reasons := make([]reason, len(picks))
	seen := map[target]bool{}
	failed := false
	for n, p := range picks {
		reasons[n].Code = "None"
		if err := p.resolve(); err != nil {
			var why error
			if reasons[n], why = cancelled(err); why != nil {
				return why
			}
			failed = true
			continue
		}
		at := target{table: p.table, key: p.at}
		if seen[at] {
			return item.Invalid("Transaction request cannot include multiple operations on one item")
		}
		seen[at] = true
	}
	if failed {
		return cancel(reasons)
	}
	return nil
}
