package athena

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"go.etcd.io/bbolt"

	"github.com/stile-dev/stile/localstack/gate"
	"github.com/stile-dev/stile/localstack/iam"
)

// maxPage is the most that ListNamedQueries answers, and that BatchGetNamedQuery is asked for.
const maxPage = 50

// Name is the signing name.
func (*Service) Name() string { return "athena" }

// Operations lists what the service answers.
func (*Service) Operations() []string {
	return []string{
		"BatchGetNamedQuery", "GetNamedQuery", "GetQueryExecution", "GetQueryResults", "GetWorkGroup", "ListNamedQueries", "StartQueryExecution", "StopQueryExecution",
	}
}

// ServeAWS answers one call.
func (s *Service) ServeAWS(w http.ResponseWriter, c *gate.Call) {
	gate.ServeJSON(w, c, gate.JSON11, "Athena", "AmazonAthena.", map[string]func(*gate.Call) (any, error){
		"BatchGetNamedQuery": s.batchGetNamedQuery, "GetNamedQuery": s.getNamedQuery, "GetWorkGroup": s.getWorkGroup, "ListNamedQueries": s.listNamedQueries,
		"GetQueryExecution": s.getQueryExecution, "GetQueryResults": s.getQueryResults, "StartQueryExecution": s.startQueryExecution, "StopQueryExecution": s.stopQueryExecution,
	})
}

func (s *Service) getWorkGroup(c *gate.Call) (any, error) {
	var in struct{ WorkGroup string }
	if err := read(c, &in); err != nil {
		return nil, err
	}
	if !nameForm.MatchString(in.WorkGroup) {
		return nil, invalid("WorkGroup %.200q is no name of one", in.WorkGroup)
	}
	if err := s.authorize(c, in.WorkGroup); err != nil {
		return nil, err
	}
	var g group
	err := s.db.View(func(tx *bbolt.Tx) error { return get(tx, groupBucket, in.WorkGroup, &g) })
	if errors.Is(err, errAbsent) {
		return nil, noGroup(in.WorkGroup)
	}
	if err != nil {
		return nil, err
	}
	return map[string]any{"WorkGroup": map[string]any{
		"Name": g.Name, "Description": g.Description, "State": g.State, "CreationTime": float64(g.Created.UnixMilli()) / 1000, "Configuration": g.Settings,
	}}, nil
}

func (s *Service) listNamedQueries(c *gate.Call) (any, error) {
	var in struct {
		WorkGroup  string
		NextToken  string
		MaxResults *int
	}
	if err := read(c, &in); err != nil {
		return nil, err
	}
	if in.WorkGroup == "" {
		in.WorkGroup = primary
	}
	most := maxPage
	if in.MaxResults != nil && *in.MaxResults != 0 {
		most = *in.MaxResults
	}
	if !nameForm.MatchString(in.WorkGroup) || most < 1 || most > maxPage {
		return nil, invalid("WorkGroup has to be a name, and MaxResults 0 to %d", maxPage)
	}
	if err := s.authorize(c, in.WorkGroup); err != nil {
		return nil, err
	}
	var found []query
	var more bool
	err := s.db.View(func(tx *bbolt.Tx) (err error) {
		if tx.Bucket(groupBucket).Get([]byte(in.WorkGroup)) == nil {
			return noGroup(in.WorkGroup)
		}
		found, more, err = queries(tx, in.WorkGroup, in.NextToken, most)
		return err
	})
	if err != nil {
		return nil, err
	}
	ids := make([]string, len(found))
	for i, q := range found {
		ids[i] = q.ID
	}
	out := map[string]any{"NamedQueryIds": ids}
	if more {
		out["NextToken"] = ids[len(ids)-1]
	}
	return out, nil
}

func (s *Service) getNamedQuery(c *gate.Call) (any, error) {
	var in struct {
		ID string `json:"NamedQueryId"`
	}
	if err := read(c, &in); err != nil {
		return nil, err
	}
	if in.ID == "" {
		return nil, invalid("NamedQueryId is needed")
	}
	q, err := s.query(c, in.ID)
	if errors.Is(err, errAbsent) {
		return nil, invalid("NamedQuery %.200s was not found", in.ID)
	}
	if err != nil {
		return nil, err
	}
	return map[string]any{"NamedQuery": q}, nil
}

// unprocessed is why BatchGetNamedQuery does not answer a query.
type unprocessed struct {
	ID           string `json:"NamedQueryId"`
	ErrorCode    string
	ErrorMessage string
}

func (s *Service) batchGetNamedQuery(c *gate.Call) (any, error) {
	var in struct {
		IDs []string `json:"NamedQueryIds"`
	}
	if err := read(c, &in); err != nil {
		return nil, err
	}
	if len(in.IDs) == 0 || len(in.IDs) > maxPage {
		return nil, invalid("NamedQueryIds have to be 1 to %d", maxPage)
	}
	found, failed := []query{}, []unprocessed{}
	for _, id := range in.IDs {
		q, err := s.query(c, id)
		if errors.Is(err, errAbsent) {
			failed = append(failed, unprocessed{id, "INVALID_INPUT", "NamedQuery was not found"})
			continue
		}
		if err != nil {
			return nil, err
		}
		found = append(found, q)
	}
	return map[string]any{"NamedQueries": found, "UnprocessedNamedQueryIds": failed}, nil
}

// query returns a named query to who may read it in its workgroup. One that is none is told only to who may read queries of
// the account's own workgroup.
func (s *Service) query(c *gate.Call, id string) (query, error) {
	q := query{Group: primary}
	err := s.db.View(func(tx *bbolt.Tx) error { return get(tx, queryBucket, id, &q) })
	if err != nil && !errors.Is(err, errAbsent) {
		return query{}, err
	}
	if denied := s.authorize(c, q.Group); denied != nil {
		return query{}, denied
	}
	return q, err
}

// authorize asks for the action of the call's operation on a workgroup.
func (s *Service) authorize(c *gate.Call, group string) error {
	_, operation, _ := strings.Cut(c.HTTP.Header.Get("X-Amz-Target"), ".")
	return c.Authorize(iam.Query{Action: "athena:" + operation, Resource: s.arn(group)})
}

// read decodes a request, without members that the service doesn't know.
func read(c *gate.Call, into any) error {
	return gate.ReadKnownJSON(c, into, func(member string) error {
		return invalid("the local Athena doesn't know the member %s of %s", member, c.Operation())
	})
}

func noGroup(name string) error { return invalid("WorkGroup %s is not found.", name) }

func invalid(format string, args ...any) error {
	return &gate.Error{Code: "InvalidRequestException", Message: fmt.Sprintf(format, args...), Fields: map[string]any{"AthenaErrorCode": "INVALID_INPUT"}}
}
