// Package athena asks the audit lake: it starts queries in the lake's workgroup, and reads what became of them and what they found.
//
// It doesn't know who may ask. Its entry point is [New].
package athena

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/athena"
	"github.com/aws/aws-sdk-go-v2/service/athena/types"
	"github.com/aws/smithy-go"

	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/query"
	"github.com/stile-dev/stile/pkg/wire"
)

// API is what of Athena is used.
type API interface {
	StartQueryExecution(context.Context, *athena.StartQueryExecutionInput, ...func(*athena.Options)) (*athena.StartQueryExecutionOutput, error)
	GetQueryExecution(context.Context, *athena.GetQueryExecutionInput, ...func(*athena.Options)) (*athena.GetQueryExecutionOutput, error)
	GetQueryResults(context.Context, *athena.GetQueryResultsInput, ...func(*athena.Options)) (*athena.GetQueryResultsOutput, error)
	StopQueryExecution(context.Context, *athena.StopQueryExecutionInput, ...func(*athena.Options)) (*athena.StopQueryExecutionOutput, error)
}

// Lake asks by Athena. It is safe for concurrent use.
type Lake struct{ api API }

var _ query.Lake = (*Lake)(nil)

// New makes a lake.
func New(api API) *Lake { return &Lake{api} }

// Start starts a query in the lake's workgroup and database.
func (l *Lake) Start(ctx context.Context, text string, literals []string, token string) (string, error) {
	out, err := l.api.StartQueryExecution(ctx, &athena.StartQueryExecutionInput{
		QueryString: &text, ExecutionParameters: literals, ClientRequestToken: &token, WorkGroup: aws.String(names.LakeWorkgroup),
		QueryExecutionContext: &types.QueryExecutionContext{Database: aws.String(names.LakeDatabase)},
	})
	if err != nil {
		return "", told(err, "starting a query")
	}
	return aws.ToString(out.QueryExecutionId), nil
}

// idForm is that of a query's id. Nothing else is sent to Athena as one.
var idForm = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// states are Athena's, as people are told them.
var states = map[types.QueryExecutionState]string{
	types.QueryExecutionStateQueued: "queued", types.QueryExecutionStateRunning: "running", types.QueryExecutionStateSucceeded: "succeeded",
	types.QueryExecutionStateFailed: "failed", types.QueryExecutionStateCancelled: "stopped",
}

// Look says how a query of the workgroup goes.
func (l *Lake) Look(ctx context.Context, id string) (query.Run, error) {
	if !idForm.MatchString(id) {
		return query.Run{}, unknown()
	}
	out, err := l.api.GetQueryExecution(ctx, &athena.GetQueryExecutionInput{QueryExecutionId: &id})
	if err != nil {
		if _, invalid := errors.AsType[*types.InvalidRequestException](err); invalid || outside(err) {
			return query.Run{}, unknown().Because(err)
		}
		return query.Run{}, told(err, "looking at a query")
	}
	e := out.QueryExecution
	if e == nil || e.Status == nil || aws.ToString(e.WorkGroup) != names.LakeWorkgroup {
		return query.Run{}, unknown()
	}
	state, known := states[e.Status.State]
	if !known {
		return query.Run{}, fmt.Errorf("looking at a query: it is in state %q", e.Status.State)
	}
	r := query.Run{Text: aws.ToString(e.Query), State: state, Reason: aws.ToString(e.Status.StateChangeReason)}
	if s := e.Statistics; s != nil {
		r.Scanned, r.Milliseconds = aws.ToInt64(s.DataScannedInBytes), aws.ToInt64(s.EngineExecutionTimeInMillis)
	}
	advise(&r)
	return r, nil
}

// outside reports whether Athena refuses an id because it is of no query in the lake's workgroup: what is nowhere, or in another, is
// nothing that the role has rights on.
func outside(err error) bool {
	refused, ok := errors.AsType[smithy.APIError](err)
	return ok && refused.ErrorCode() == "AccessDeniedException"
}

func unknown() *fault.Fault {
	return fault.New(fault.NotFound, "there is no such query", "ask again; the ids of queries are good for some days")
}

// ofSQL is what Athena says of a query that is wrong itself: where it is, or one of the codes of Trino's errors of users. What else
// fails, such as the engine or what the lake is stored in, no other SQL helps against.
var ofSQL = regexp.MustCompile(`\bline [0-9]+:[0-9]+|(^|\W)(SYNTAX_ERROR|TYPE_MISMATCH|(COLUMN|TABLE|SCHEMA|CATALOG|FUNCTION|COLUMN_TYPE)_NOT_FOUND|TYPE_NOT_FOUND|AMBIGUOUS_NAME|DUPLICATE_[A-Z_]+|EXPRESSION_NOT_[A-Z_]+|MISSING_[A-Z_]+|INVALID_[A-Z_]+|NOT_SUPPORTED|DIVISION_BY_ZERO|NUMERIC_VALUE_OUT_OF_RANGE|SUBQUERY_MULTIPLE_ROWS|MISMATCHED_COLUMN_ALIASES|FUNCTION_IMPLEMENTATION_[A-Z_]+)\b`)

// advise says what to do about a query that came to nothing. One that would read too much is stopped by Athena, which makes it look
// as if somebody had stopped it.
func advise(r *query.Run) {
	switch {
	case r.State != "failed" && r.State != "stopped":
	case strings.Contains(r.Reason, "Bytes scanned limit was exceeded"):
		r.State = "failed"
		r.Hint = "ask about less time, with --since and --until, or name only the columns that you need; the limit is the parameter QueryScanLimit of StileAudit"
	case strings.Contains(r.Reason, "PERMISSION_DENIED"), strings.Contains(r.Reason, "Access Denied"), strings.Contains(r.Reason, "AccessDenied"):
		r.Hint = "ask from the tables events and period; other tables are out of reach here"
	case strings.Contains(r.Reason, "EXCEEDED"), strings.Contains(r.Reason, "exhausted"):
		r.Hint = "ask about less time, or add a LIMIT"
	case r.State == "failed" && !ofSQL.MatchString(r.Reason):
		r.Hint = "ask again; if it fails again, tell an administrator the reason: it isn't the SQL that is wrong"
	case r.State == "failed":
		r.Hint = "correct the SQL where the reason says; the table is events, with the columns that docs/reference/audit-events.md lists"
	}
}

// pageSize is how many rows Athena gives at most.
const pageSize = 1000

// Rows returns a page of what a query found: as many rows as a page has room for.
func (l *Lake) Rows(ctx context.Context, id, cursor string) (wire.QueryRows, error) {
	in := &athena.GetQueryResultsInput{QueryExecutionId: &id}
	if cursor != "" {
		in.NextToken = &cursor
	}
	for size := int32(pageSize); ; {
		in.MaxResults = &size
		out, err := l.api.GetQueryResults(ctx, in)
		if err != nil {
			return wire.QueryRows{}, gone(err, cursor)
		}
		page, bytes := rows(out, cursor == "")
		switch {
		case bytes <= wire.MostAnswer:
			return page, nil
		case size == 1:
			return wire.QueryRows{}, fault.New(fault.TooLarge, "a row of what was found is too large for an answer", "ask for fewer columns, or cut long values with substr")
		}
		size = max(int32(int64(size)*wire.MostAnswer*3/4/int64(bytes)), 1) // rows differ: those that are left may be larger than all were
	}
}

// rows turns a page of Athena's around, and counts the bytes that it takes in an answer. The first row of all is the columns' names.
func rows(out *athena.GetQueryResultsOutput, first bool) (page wire.QueryRows, bytes int) {
	page = wire.QueryRows{Columns: []wire.QueryColumn{}, Rows: []wire.QueryRow{}, Next: aws.ToString(out.NextToken)}
	if out.ResultSet == nil {
		return page, 0
	}
	if m := out.ResultSet.ResultSetMetadata; m != nil {
		for _, c := range m.ColumnInfo {
			page.Columns = append(page.Columns, wire.QueryColumn{Name: aws.ToString(c.Name), Type: aws.ToString(c.Type)})
		}
	}
	for n, r := range out.ResultSet.Rows {
		if n == 0 && first && header(r, page.Columns) {
			continue
		}
		row := wire.QueryRow{Values: make([]*string, len(r.Data))}
		for i, d := range r.Data {
			row.Values[i] = d.VarCharValue
			bytes += wire.Size(aws.ToString(d.VarCharValue)) + 16
		}
		page.Rows = append(page.Rows, row)
	}
	return page, bytes
}

func header(r types.Row, columns []wire.QueryColumn) bool {
	for i, d := range r.Data {
		if i >= len(columns) || d.VarCharValue == nil || *d.VarCharValue != columns[i].Name {
			return false
		}
	}
	return len(r.Data) == len(columns)
}

// gone tells results that have expired from a cursor that is another query's.
func gone(err error, cursor string) error {
	if _, invalid := errors.AsType[*types.InvalidRequestException](err); invalid {
		if cursor != "" && strings.Contains(strings.ToLower(err.Error()), "token") {
			return fault.New(fault.BadInput, "the cursor did not come from this query", "send the previous page's next unchanged").With("cursor", "malformed").Because(err)
		}
		return fault.New(fault.NotFound, "what the query found is no longer there: results are kept for a day", "ask again").Because(err)
	}
	return told(err, "reading what a query found")
}

// Stop ends a query.
func (l *Lake) Stop(ctx context.Context, id string) error {
	if _, err := l.api.StopQueryExecution(ctx, &athena.StopQueryExecutionInput{QueryExecutionId: &id}); err != nil {
		return told(err, "stopping a query")
	}
	return nil
}

// told makes a fault of what Athena refuses.
func told(err error, doing string) error {
	if _, busy := errors.AsType[*types.TooManyRequestsException](err); busy || strings.Contains(err.Error(), "ThrottlingException") {
		return fault.New(fault.Unavailable, "the lake is asked too much at once", "wait a minute and try again").Because(err)
	}
	if bad, ok := errors.AsType[*types.InvalidRequestException](err); ok {
		return fault.Newf(fault.BadInput, "correct the SQL; the table is events", "the lake can't be asked that: %.500s", aws.ToString(bad.Message)).Because(err)
	}
	return fmt.Errorf("%s: %w", doing, err)
}
