package athena

import (
	"crypto/rand"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"go.etcd.io/bbolt"

	"github.com/stile-dev/stile/localstack/gate"
)

const (
	maxParameters = 100 // of a query
	maxParameter  = 1024
	maxQueued     = 20 // queries that run or wait, as Athena's quota of active DML queries
)

// source is the one catalog that there is.
const source = "awsdatacatalog"

var (
	tokenForm    = regexp.MustCompile(`^[\x20-\x7e]{32,128}$`)
	databaseForm = regexp.MustCompile(`^[A-Za-z0-9_]{1,255}$`)
)

// startRequest is StartQueryExecution, of what is known here.
type startRequest struct {
	QueryString           string
	WorkGroup             string
	ClientRequestToken    string
	ExecutionParameters   *[]string
	QueryExecutionContext struct{ Database, Catalog string }
	ResultConfiguration   *struct {
		OutputLocation          string
		ExpectedBucketOwner     string
		EncryptionConfiguration *encryption
	}
}

func (r *startRequest) check() error {
	switch {
	case strings.TrimSpace(r.QueryString) == "":
		return invalid("QueryString is needed")
	case utf8.RuneCountInString(r.QueryString) > maxQueryText:
		return invalid("QueryString is longer than %d characters", maxQueryText)
	case !nameForm.MatchString(r.WorkGroup):
		return invalid("WorkGroup %.200q is no name of one", r.WorkGroup)
	case r.ClientRequestToken != "" && !tokenForm.MatchString(r.ClientRequestToken):
		return invalid("ClientRequestToken has to be 32 to 128 characters")
	case r.QueryExecutionContext.Database != "" && !databaseForm.MatchString(r.QueryExecutionContext.Database):
		return invalid("Database %.200q is no name of one", r.QueryExecutionContext.Database)
	case r.QueryExecutionContext.Catalog != "" && !strings.EqualFold(r.QueryExecutionContext.Catalog, source):
		return invalid("Catalog %.200q is not here, only AwsDataCatalog is", r.QueryExecutionContext.Catalog)
	}
	if p := r.ExecutionParameters; p != nil {
		if len(*p) == 0 || len(*p) > maxParameters {
			return invalid("ExecutionParameters have to be 1 to %d, or left out", maxParameters)
		}
		for _, text := range *p {
			if text == "" || utf8.RuneCountInString(text) > maxParameter {
				return invalid("each of ExecutionParameters has to be 1 to %d characters", maxParameter)
			}
		}
	}
	return nil
}

// results are the settings by which a query's results are written: the workgroup's, unless it lets callers say theirs.
func (r *startRequest) results(g group) (results, error) {
	out := g.Settings.ResultConfiguration
	if own := r.ResultConfiguration; own != nil && !g.Settings.EnforceWorkGroupConfiguration {
		if own.OutputLocation != "" {
			out.OutputLocation = own.OutputLocation
		}
		if own.ExpectedBucketOwner != "" {
			out.ExpectedBucketOwner = own.ExpectedBucketOwner
		}
		if own.EncryptionConfiguration != nil {
			out.EncryptionConfiguration = own.EncryptionConfiguration
		}
	}
	if out.OutputLocation == "" {
		return results{}, invalid("No output location provided. An output location is required either through the Workgroup result configuration setting or as an API input.")
	}
	if !strings.HasSuffix(out.OutputLocation, "/") {
		out.OutputLocation += "/"
	}
	if !locationForm.MatchString(out.OutputLocation) {
		return results{}, invalid("outputLocation is not a valid S3 path.")
	}
	return out, nil
}

func (s *Service) startQueryExecution(c *gate.Call) (any, error) {
	in := startRequest{WorkGroup: primary}
	if err := read(c, &in); err != nil {
		return nil, err
	}
	if err := in.check(); err != nil {
		return nil, err
	}
	if err := s.authorize(c, in.WorkGroup); err != nil {
		return nil, err
	}
	g, err := s.group(in.WorkGroup)
	if err != nil {
		return nil, err
	}
	if g.State != enabled {
		return nil, invalid("WorkGroup %s is disabled.", g.Name)
	}
	where, err := in.results(g)
	if err != nil {
		return nil, err
	}
	bucket, _ := location(where.OutputLocation)
	if owner := where.ExpectedBucketOwner; owner != "" && owner != s.config.Authority.Account() || s.config.Buckets.Locate(c.Principal, bucket) != nil {
		return nil, invalid("Unable to verify/create output bucket %s", bucket)
	}
	e := execution{
		ID: newID(), Text: in.QueryString, Group: g.Name, Database: strings.ToLower(in.QueryExecutionContext.Database),
		Catalog: in.QueryExecutionContext.Catalog, Results: where, State: queued, Submitted: s.config.Now().UTC(),
	}
	e.Results.OutputLocation += e.ID + ".csv"
	if in.ExecutionParameters != nil {
		e.Parameters = *in.ExecutionParameters
	}
	if in.ClientRequestToken != "" {
		e.Token = c.Principal.String() + "\x00" + in.ClientRequestToken
	}
	id, err := s.enqueue(e)
	if err != nil {
		return nil, err
	}
	if id == e.ID {
		s.launch(c.Principal, e, g)
	}
	return map[string]any{"QueryExecutionId": id}, nil
}

// enqueue keeps a new execution, and returns the id of the one that its token has begun before.
func (s *Service) enqueue(e execution) (id string, err error) {
	reserved := false
	err = s.db.Update(func(tx *bbolt.Tx) error {
		id = e.ID
		if e.Token != "" {
			if raw := tx.Bucket(tokenBucket).Get([]byte(e.Token)); raw != nil {
				var before execution
				if err := get(tx, executionBucket, string(raw), &before); err != nil {
					return err
				}
				id = before.ID
				if !before.same(e) {
					return invalid("Idempotent parameters do not match: the token began another query")
				}
				return nil
			}
			if err := tx.Bucket(tokenBucket).Put([]byte(e.Token), []byte(e.ID)); err != nil {
				return err
			}
		}
		if reserved = s.reserve(); !reserved {
			return &gate.Error{Code: "TooManyRequestsException", Message: fmt.Sprintf("You have exceeded the limit for the number of queries you can run concurrently: %d", maxQueued)}
		}
		return put(tx, executionBucket, e.ID, e)
	})
	if err != nil && reserved {
		s.release()
	}
	return id, err
}

// same reports whether two executions were asked for in the same words.
func (e execution) same(other execution) bool {
	where := func(e execution) string { return strings.TrimSuffix(e.Results.OutputLocation, e.ID+".csv") }
	return e.Text == other.Text && e.Group == other.Group && e.Database == other.Database && e.Catalog == other.Catalog &&
		slices.Equal(e.Parameters, other.Parameters) && where(e) == where(other)
}

// newID is a random UUID, version 4.
func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails; see crypto/rand
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// group returns a workgroup to who may use it.
func (s *Service) group(name string) (g group, err error) {
	err = s.db.View(func(tx *bbolt.Tx) error { return get(tx, groupBucket, name, &g) })
	if errors.Is(err, errAbsent) {
		return group{}, noGroup(name)
	}
	return g, err
}

// execution returns one to who may do what the call does in its workgroup. One that is none is told only to who may do it in the
// account's own workgroup.
func (s *Service) execution(c *gate.Call, id string) (execution, error) {
	if id == "" || len(id) > 128 {
		return execution{}, invalid("QueryExecutionId has to be 1 to 128 characters")
	}
	e, err := s.find(id)
	if err != nil && !errors.Is(err, errAbsent) {
		return execution{}, err
	}
	group := e.Group
	if err != nil {
		group = primary
	}
	if denied := s.authorize(c, group); denied != nil {
		return execution{}, denied
	}
	if err != nil {
		return execution{}, invalid("QueryExecution %.200s was not found", id)
	}
	return e, nil
}

// named returns the execution that a call names, and nothing else.
func (s *Service) named(c *gate.Call) (execution, error) {
	var in struct {
		QueryExecutionID string `json:"QueryExecutionId"`
	}
	if err := read(c, &in); err != nil {
		return execution{}, err
	}
	return s.execution(c, in.QueryExecutionID)
}

func (s *Service) getQueryExecution(c *gate.Call) (any, error) {
	e, err := s.named(c)
	if err != nil {
		return nil, err
	}
	return map[string]any{"QueryExecution": e.answer()}, nil
}

func (s *Service) stopQueryExecution(c *gate.Call) (any, error) {
	e, err := s.named(c)
	if err != nil {
		return nil, err
	}
	if _, err := s.change(e.ID, func(e *execution) { e.State, e.Reason = cancelled, "Query cancelled by user" }); err != nil {
		return nil, err
	}
	s.stop(e.ID)
	return struct{}{}, nil
}

// location is bucket and key of s3://bucket/key.
func location(uri string) (bucket, key string) {
	bucket, key, _ = strings.Cut(strings.TrimPrefix(uri, "s3://"), "/")
	return bucket, key
}
