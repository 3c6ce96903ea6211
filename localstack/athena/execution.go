package athena

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"go.etcd.io/bbolt"

	"github.com/stile-dev/stile/localstack/gate"
	"github.com/stile-dev/stile/localstack/iam"
)

// States of a query.
const (
	queued, running, succeeded, failed, cancelled = "QUEUED", "RUNNING", "SUCCEEDED", "FAILED", "CANCELLED"
)

// execution is a query as it is kept.
type execution struct {
	ID, Group, Database, Query string
	Values                     []string `json:",omitempty"`
	State, Reason              string
	Submitted, Ended           time.Time
	Scanned, Millis            int64
	Location                   string   // of the result in S3
	Columns                    []column `json:",omitempty"`
}

func (e execution) over() bool {
	return e.State == succeeded || e.State == failed || e.State == cancelled
}

var (
	executionBucket = []byte("execution") // by id
	tokenBucket     = []byte("token")     // by client request token: what it started
)

// token is what a client request token started.
type token struct{ ID, Sum string }

// starting is what StartQueryExecution asks for.
type starting struct {
	QueryString           string
	ClientRequestToken    string
	QueryExecutionContext struct{ Database, Catalog string }
	WorkGroup             string
	ExecutionParameters   []string
	ResultConfiguration   struct {
		OutputLocation string
	}
}

func (s *Service) startQueryExecution(c *gate.Call) (any, error) {
	var in starting
	if err := read(c, &in); err != nil {
		return nil, err
	}
	if in.WorkGroup == "" {
		in.WorkGroup = primary
	}
	if err := in.check(c.Body); err != nil {
		return nil, err
	}
	if err := s.authorize(c, in.WorkGroup); err != nil {
		return nil, err
	}
	e, begun, err := s.admit(in)
	if err != nil {
		return nil, err
	}
	if begun {
		s.begun(c.Principal, e)
	}
	return map[string]any{"QueryExecutionId": e.ID}, nil
}

func (in *starting) check(body []byte) error {
	var given map[string]json.RawMessage
	_ = json.Unmarshal(body, &given) // it was read before
	db, catalog := &in.QueryExecutionContext.Database, in.QueryExecutionContext.Catalog
	*db = strings.ToLower(*db)
	switch n := len(in.ClientRequestToken); {
	case len(in.QueryString) == 0 || len(in.QueryString) > maxQueryText:
		return invalid("QueryString has to have 1 to %d characters", maxQueryText)
	case given["ClientRequestToken"] != nil && (n < 32 || n > 128):
		return invalid("ClientRequestToken has to have 32 to 128 characters")
	case given["ExecutionParameters"] != nil && len(in.ExecutionParameters) == 0:
		return invalid("ExecutionParameters has to have one at least")
	case catalog != "" && !strings.EqualFold(catalog, "AwsDataCatalog"):
		return invalid("Data Catalog %.200s was not found", catalog)
	case *db == "" || !databaseForm.MatchString(*db):
		return invalid("the local Athena needs QueryExecutionContext.Database, of lower-case letters, digits and _")
	case !nameForm.MatchString(in.WorkGroup):
		return invalid("WorkGroup %.200q is no name of one", in.WorkGroup)
	}
	return nil
}

// admit writes a query down, or returns the one that the token started before.
func (s *Service) admit(in starting) (e execution, begun bool, err error) {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %q %q %q", in.QueryString, in.QueryExecutionContext.Database, in.WorkGroup, in.ExecutionParameters, in.ResultConfiguration.OutputLocation))
	text := hex.EncodeToString(sum[:])
	err = s.db.Update(func(tx *bbolt.Tx) error {
		var g group
		if err := get(tx, groupBucket, in.WorkGroup, &g); errors.Is(err, errAbsent) {
			return noGroup(in.WorkGroup)
		} else if err != nil {
			return err
		}
		if g.State == disabled {
			return invalid("WorkGroup %s is disabled.", g.Name)
		}
		var was token
		if in.ClientRequestToken != "" && get(tx, tokenBucket, in.ClientRequestToken, &was) == nil {
			if was.Sum != text {
				return &gate.Error{Code: "InvalidRequestException", Message: "Idempotent parameters do not match"}
			}
			e.ID = was.ID
			return nil
		}
		location := g.Settings.ResultConfiguration.OutputLocation
		if own := in.ResultConfiguration.OutputLocation; location == "" || !g.Settings.EnforceWorkGroupConfiguration && own != "" {
			location = own
		}
		if !locationForm.MatchString(location) || !strings.HasSuffix(location, "/") {
			return invalid("No output location provided. An output location is required either through the Workgroup result configuration setting or as an API input.")
		}
		id := newUUID()
		e = execution{
			ID: id, Group: g.Name, Database: in.QueryExecutionContext.Database, Query: in.QueryString, Values: in.ExecutionParameters, State: queued,
			Submitted: s.config.Now().UTC(), Location: location + id + ".csv",
		}
		begun = true
		if in.ClientRequestToken != "" {
			if err := put(tx, tokenBucket, in.ClientRequestToken, token{id, text}); err != nil {
				return err
			}
		}
		return put(tx, executionBucket, id, e)
	})
	return e, begun, err
}

// begun runs a query in the background, with the rights of who started it.
func (s *Service) begun(who *iam.Principal, e execution) {
	ctx, cancel := context.WithCancel(s.life)
	s.mu.Lock()
	s.stops[e.ID] = cancel
	s.mu.Unlock()
	s.work.Go(func() {
		defer cancel()
		defer func() {
			s.mu.Lock()
			delete(s.stops, e.ID)
			s.mu.Unlock()
		}()
		if s.turns.Acquire(ctx, 1) == nil {
			defer s.turns.Release(1)
			e.State = running
			if s.change(e) == nil {
				s.perform(ctx, who, &e)
			}
		} else {
			e.State, e.Reason = cancelled, errStopped.Error()
		}
		e.Ended = s.config.Now().UTC()
		_ = s.change(e) // a disk that takes nothing leaves it as it was
	})
}

// perform runs a query and leaves what it gives in S3.
func (s *Service) perform(ctx context.Context, who *iam.Principal, e *execution) {
	begun := time.Now()
	err := s.answered(ctx, who, e)
	e.Millis = time.Since(begun).Milliseconds()
	switch {
	case err == nil:
		e.State = succeeded
	case errors.Is(err, errStopped), errors.Is(err, errScan):
		e.State, e.Reason = cancelled, err.Error()
	default:
		e.State, e.Reason = failed, err.Error()
	}
}

// errScan is why a query that would read too much is ended.
var errScan = errors.New("Bytes scanned limit was exceeded") //nolint:staticcheck // Athena's words

func (s *Service) answered(ctx context.Context, who *iam.Principal, e *execution) error {
	var g group
	if err := s.db.View(func(tx *bbolt.Tx) error { return get(tx, groupBucket, e.Group, &g) }); err != nil {
		return err
	}
	sql, fits := filled(e.Query, e.Values)
	if !fits {
		return fmt.Errorf("INVALID_PARAMETER_USAGE: Incorrect number of parameters: %d were given", len(e.Values))
	}
	p, err := s.plan(who, e.Database, sql)
	if err != nil {
		return err
	}
	if limit := g.Settings.BytesScannedCutoffPerQuery; limit > 0 && p.bytes > int64(limit) {
		e.Scanned = int64(limit)
		return errScan
	}
	e.Scanned = p.bytes
	a, err := s.run(ctx, p, strings.TrimSuffix(strings.TrimSpace(sql), ";"))
	if err != nil {
		return err
	}
	e.Columns = a.Columns
	bucket, key, _ := strings.Cut(strings.TrimPrefix(e.Location, "s3://"), "/")
	return s.config.Buckets.Put(who, bucket, key, written(a))
}

func (s *Service) change(e execution) error {
	return s.db.Update(func(tx *bbolt.Tx) error { return put(tx, executionBucket, e.ID, e) })
}

// execution returns a query to who may do what the call does in its workgroup.
func (s *Service) execution(c *gate.Call, id string) (execution, error) {
	var e execution
	err := s.db.View(func(tx *bbolt.Tx) error { return get(tx, executionBucket, id, &e) })
	if errors.Is(err, errAbsent) {
		e.Group = primary
	} else if err != nil {
		return e, err
	}
	if denied := s.authorize(c, e.Group); denied != nil {
		return e, denied
	}
	if err != nil {
		return e, invalid("QueryExecution %.200s was not found", id)
	}
	return e, nil
}

func (s *Service) getQueryExecution(c *gate.Call) (any, error) {
	var in struct {
		QueryExecutionID string `json:"QueryExecutionId"`
	}
	if err := read(c, &in); err != nil {
		return nil, err
	}
	e, err := s.execution(c, in.QueryExecutionID)
	if err != nil {
		return nil, err
	}
	status := map[string]any{"State": e.State, "SubmissionDateTime": seconds(e.Submitted)}
	if e.Reason != "" {
		status["StateChangeReason"] = e.Reason
	}
	if e.over() {
		status["CompletionDateTime"] = seconds(e.Ended)
	}
	out := map[string]any{
		"QueryExecutionId": e.ID, "Query": e.Query, "StatementType": "DML", "WorkGroup": e.Group, "Status": status,
		"QueryExecutionContext": map[string]any{"Database": e.Database}, "ResultConfiguration": map[string]any{"OutputLocation": e.Location},
		"Statistics":    map[string]any{"DataScannedInBytes": e.Scanned, "EngineExecutionTimeInMillis": e.Millis},
		"EngineVersion": version{auto, engine},
	}
	if len(e.Values) > 0 {
		out["ExecutionParameters"] = e.Values
	}
	return map[string]any{"QueryExecution": out}, nil
}

func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

func (s *Service) stopQueryExecution(c *gate.Call) (any, error) {
	var in struct {
		QueryExecutionID string `json:"QueryExecutionId"`
	}
	if err := read(c, &in); err != nil {
		return nil, err
	}
	if _, err := s.execution(c, in.QueryExecutionID); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if stop := s.stops[in.QueryExecutionID]; stop != nil {
		stop()
	}
	return map[string]any{}, nil
}

// maxRows is the most rows of a page of results.
const maxRows = 1000

func (s *Service) getQueryResults(c *gate.Call) (any, error) {
	var in struct {
		QueryExecutionID string `json:"QueryExecutionId"`
		NextToken        string
		MaxResults       *int
	}
	if err := read(c, &in); err != nil {
		return nil, err
	}
	most := maxRows
	if in.MaxResults != nil {
		most = *in.MaxResults
	}
	if most < 1 || most > maxRows {
		return nil, invalid("MaxResults has to be 1 to %d", maxRows)
	}
	e, err := s.execution(c, in.QueryExecutionID)
	if err != nil {
		return nil, err
	}
	if e.State != succeeded {
		return nil, invalid("Query has not yet finished. Current state: %s", e.State)
	}
	from := 0
	if in.NextToken != "" {
		id, at, _ := strings.Cut(in.NextToken, " ")
		if from, err = strconv.Atoi(at); err != nil || id != e.ID || from < 1 {
			return nil, invalid("Malformed NextToken")
		}
	}
	bucket, key, _ := strings.Cut(strings.TrimPrefix(e.Location, "s3://"), "/")
	raw, err := s.config.Buckets.Get(c.Principal, bucket, key)
	if err != nil {
		return nil, invalid("Could not find results: %s", err)
	}
	rows, err := parsed(raw, len(e.Columns))
	if err != nil {
		return nil, err
	}
	to := min(from+most, len(rows))
	out := map[string]any{"ResultSet": map[string]any{"Rows": shown(rows[min(from, to):to]), "ResultSetMetadata": map[string]any{"ColumnInfo": described(e.Columns)}}}
	if to < len(rows) {
		out["NextToken"] = e.ID + " " + strconv.Itoa(to)
	}
	return out, nil
}

// datum is a value of a row.
type datum struct {
	VarCharValue *string `json:",omitempty"`
}

func shown(rows [][]*string) []map[string][]datum {
	out := make([]map[string][]datum, len(rows))
	for i, r := range rows {
		data := make([]datum, len(r))
		for j, v := range r {
			data[j].VarCharValue = v
		}
		out[i] = map[string][]datum{"Data": data}
	}
	return out
}

// described are columns as ColumnInfo: a type without what is in its brackets.
func described(columns []column) []map[string]any {
	out := make([]map[string]any, len(columns))
	for i, c := range columns {
		kind, _, _ := strings.Cut(c.Type, "(")
		if strings.HasSuffix(c.Type, "with time zone") {
			kind += " with time zone"
		}
		out[i] = map[string]any{"CatalogName": "hive", "Name": c.Name, "Label": c.Name, "Type": kind, "Nullable": "UNKNOWN", "CaseSensitive": kind == "varchar"}
	}
	return out
}
