package athena_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"strings"
	"testing"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/athena"
	"github.com/aws/aws-sdk-go-v2/service/athena/types"
	"github.com/aws/smithy-go"

	"github.com/stile-dev/stile/pkg/athena"
	"github.com/stile-dev/stile/pkg/fault"
)

const id = "0f0e0d0c-0b0a-4908-8706-050403020100"

// fake is an Athena that has one query.
type fake struct {
	athena.API
	started *sdk.StartQueryExecutionInput
	query   types.QueryExecution
	cells   []string // rows of one column
	pages   []int32
	fail    error
}

func (f *fake) StartQueryExecution(_ context.Context, in *sdk.StartQueryExecutionInput, _ ...func(*sdk.Options)) (*sdk.StartQueryExecutionOutput, error) {
	f.started = in
	return &sdk.StartQueryExecutionOutput{QueryExecutionId: aws.String(id)}, f.fail
}

func (f *fake) GetQueryExecution(context.Context, *sdk.GetQueryExecutionInput, ...func(*sdk.Options)) (*sdk.GetQueryExecutionOutput, error) {
	return &sdk.GetQueryExecutionOutput{QueryExecution: &f.query}, f.fail
}

func (f *fake) GetQueryResults(_ context.Context, in *sdk.GetQueryResultsInput, _ ...func(*sdk.Options)) (*sdk.GetQueryResultsOutput, error) {
	f.pages = append(f.pages, *in.MaxResults)
	out := &sdk.GetQueryResultsOutput{ResultSet: &types.ResultSet{ResultSetMetadata: &types.ResultSetMetadata{ColumnInfo: []types.ColumnInfo{{Name: aws.String("a"), Type: aws.String("varchar")}}}}}
	for _, c := range f.cells[:min(int(*in.MaxResults), len(f.cells))] {
		row := types.Row{Data: []types.Datum{{VarCharValue: &c}}}
		if c == "null" {
			row.Data[0].VarCharValue = nil
		}
		out.ResultSet.Rows = append(out.ResultSet.Rows, row)
	}
	return out, f.fail
}

func TestAQueryStartsInTheLakesWorkgroup(t *testing.T) {
	f := &fake{}
	if got, err := athena.New(f).Start(t.Context(), "SELECT 1", nil, "t"); err != nil || got != id {
		t.Fatalf("%s, %v", got, err)
	}
	if f.started.ResultConfiguration != nil || *f.started.WorkGroup != "stile" || *f.started.QueryExecutionContext.Database != "stile" || f.started.ExecutionParameters != nil || f.started.ResultReuseConfiguration != nil {
		t.Errorf("%+v", f.started)
	}
	for _, c := range []struct {
		err  error
		want fault.Code
	}{{&types.TooManyRequestsException{}, fault.Unavailable}, {&types.InvalidRequestException{Message: aws.String("line 2:1")}, fault.BadInput}} {
		f.fail = c.err
		if _, err := athena.New(f).Start(t.Context(), "SELECT 1", nil, "t"); !fault.Is(err, c.want) || fault.From(err).Hint == "" {
			t.Errorf("%T: %v", c.err, err)
		}
	}
}

func TestWhatBecameOfAQuery(t *testing.T) {
	for _, c := range []struct {
		state              types.QueryExecutionState
		reason, want, hint string
	}{
		{types.QueryExecutionStateQueued, "", "queued", ""},
		{types.QueryExecutionStateSucceeded, "", "succeeded", ""},
		{types.QueryExecutionStateCancelled, "Query was cancelled by the user", "stopped", ""},
		{types.QueryExecutionStateCancelled, "Bytes scanned limit was exceeded", "failed", "QueryScanLimit"},
		{types.QueryExecutionStateFailed, "PERMISSION_DENIED: x", "failed", "events and period"},
		{types.QueryExecutionStateFailed, "line 2:1: x", "failed", "correct the SQL"},
		{types.QueryExecutionStateFailed, "TYPE_MISMATCH: no cast", "failed", "correct the SQL"},
		{types.QueryExecutionStateFailed, "INVALID_FUNCTION_ARGUMENT: no month 13", "failed", "correct the SQL"},
		{types.QueryExecutionStateFailed, "INTERNAL_ERROR_QUERY_ENGINE", "failed", "ask again; if it fails again"},
		{types.QueryExecutionStateFailed, "HIVE_CANNOT_OPEN_SPLIT: Slow Down", "failed", "ask again; if it fails again"},
		{types.QueryExecutionStateFailed, "", "failed", "ask again; if it fails again"},
	} {
		f := &fake{query: types.QueryExecution{
			WorkGroup: aws.String("stile"), Query: aws.String("q"), Status: &types.QueryExecutionStatus{State: c.state, StateChangeReason: &c.reason},
			Statistics: &types.QueryExecutionStatistics{DataScannedInBytes: aws.Int64(5), EngineExecutionTimeInMillis: aws.Int64(6)},
		}}
		r, err := athena.New(f).Look(t.Context(), id)
		if err != nil || r.State != c.want || r.Text != "q" || r.Scanned != 5 || r.Milliseconds != 6 || (c.hint == "") != (r.Hint == "") || !strings.Contains(r.Hint, c.hint) {
			t.Errorf("%+v: %+v, %v", c, r, err)
		}
		f.query.WorkGroup = aws.String("primary")
		if _, err := athena.New(f).Look(t.Context(), id); !fault.Is(err, fault.NotFound) {
			t.Errorf("of another workgroup: %v", err)
		}
	}
	for _, bad := range []string{"", "x", id + "\n", strings.ToUpper(id)} {
		if _, err := athena.New(nil).Look(t.Context(), bad); !fault.Is(err, fault.NotFound) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if _, err := athena.New(&fake{fail: &types.InvalidRequestException{}}).Look(t.Context(), id); !fault.Is(err, fault.NotFound) {
		t.Errorf("of none: %v", err)
	}
	if _, err := athena.New(&fake{fail: &smithy.GenericAPIError{Code: "AccessDeniedException"}}).Look(t.Context(), id); !fault.Is(err, fault.NotFound) {
		t.Errorf("of none that the role may look at: %v", err)
	}
	if _, err := athena.New(&fake{fail: &smithy.GenericAPIError{Code: "InternalServerException"}}).Look(t.Context(), id); err == nil || fault.Is(err, fault.NotFound) {
		t.Errorf("of an Athena that fails: %v", err)
	}
}

func TestRowsAreWithoutTheColumnsNames(t *testing.T) {
	f := &fake{cells: []string{"a", "a", "null", ""}}
	first, err := athena.New(f).Rows(t.Context(), id, "")
	if err != nil || len(first.Rows) != 3 || *first.Rows[0].Values[0] != "a" || first.Rows[1].Values[0] != nil || *first.Rows[2].Values[0] != "" || first.Columns[0].Name != "a" {
		t.Errorf("%+v, %v", first, err)
	}
	if later, err := athena.New(f).Rows(t.Context(), id, "more"); err != nil || len(later.Rows) != 4 {
		t.Errorf("%+v, %v", later, err)
	}
}

func TestAPageFitsIntoAnAnswer(t *testing.T) {
	f := &fake{cells: []string{"a"}}
	for range 999 {
		f.cells = append(f.cells, strings.Repeat("x", 10<<10))
	}
	page, err := athena.New(f).Rows(t.Context(), id, "")
	if err != nil || len(page.Rows) == 0 || len(page.Rows) > 512 || len(f.pages) < 2 {
		t.Errorf("%d rows after %v, %v", len(page.Rows), f.pages, err)
	}
	f.cells = []string{strings.Repeat("x", 6<<20)}
	if _, err := athena.New(f).Rows(t.Context(), id, "more"); !fault.Is(err, fault.TooLarge) {
		t.Errorf("a row of 6 MiB: %v", err)
	}
}

// Whatever the text of a page is, the page has room in the 6 MB of an answer, in which it is JSON in JSON.
func TestAPageFitsIntoAnAnswerHoweverItsTextIsWritten(t *testing.T) {
	for _, sign := range []string{`"`, `\`, "\x01", "\n", "<", "\u2028", "é", "\xff", "x", "\U0001f600", "\x7f"} {
		f := &fake{cells: []string{"a"}}
		for range 999 {
			f.cells = append(f.cells, strings.Repeat(sign, 12<<10/len(sign)))
		}
		page, err := athena.New(f).Rows(t.Context(), id, "")
		if err != nil || len(page.Rows) == 0 {
			t.Fatalf("%q: %d rows, %v", sign, len(page.Rows), err)
		}
		var body, answer bytes.Buffer
		for _, step := range []func() error{
			func() error { return plain(&body).Encode(page) },
			func() error { return plain(&answer).Encode(events.APIGatewayProxyResponse{Body: body.String()}) },
		} {
			if err := step(); err != nil {
				t.Fatal(err)
			}
		}
		if answer.Len() > 6_000_000 {
			t.Errorf("%q: %d rows have %d bytes", sign, len(page.Rows), answer.Len())
		}
	}
}

func plain(to io.Writer) *json.Encoder {
	e := json.NewEncoder(to)
	e.SetEscapeHTML(false)
	return e
}

func TestResultsThatAreGoneAreToldFromAForeignCursor(t *testing.T) {
	f := &fake{fail: &types.InvalidRequestException{Message: aws.String("Could not find results")}}
	if _, err := athena.New(f).Rows(t.Context(), id, ""); !fault.Is(err, fault.NotFound) || !strings.Contains(err.Error(), "a day") {
		t.Errorf("gone: %v", err)
	}
	f.fail = &types.InvalidRequestException{Message: aws.String("Invalid NextToken")}
	if _, err := athena.New(f).Rows(t.Context(), id, "x"); !fault.Is(err, fault.BadInput) {
		t.Errorf("a cursor: %v", err)
	}
}
