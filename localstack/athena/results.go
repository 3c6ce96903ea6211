package athena

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/stile-dev/stile/localstack/gate"
	"github.com/stile-dev/stile/localstack/iam"
)

// mostPage is how many rows GetQueryResults answers at once.
const mostPage = 1000

// mostFile bounds a file of results, in bytes: its values, with quotes.
const mostFile = 4 * mostBytes

// write puts a query's results where they belong, with its caller's rights.
func (s *Service) write(who *iam.Principal, e execution, out outcome) error {
	var b bytes.Buffer
	head := make([]*string, len(out.Columns))
	for i := range out.Columns {
		head[i] = &out.Columns[i].Name
	}
	for _, row := range append([][]*string{head}, out.Rows...) {
		writeLine(&b, row)
	}
	about, err := json.Marshal(map[string]any{"queryExecutionId": e.ID, "columns": out.Columns})
	if err != nil {
		return err
	}
	bucket, key := location(e.Results.OutputLocation)
	for _, file := range []struct {
		name string
		body []byte
	}{{key + ".metadata", about}, {key, b.Bytes()}} {
		if err := s.config.Buckets.Put(who, bucket, file.name, file.body); err != nil {
			return fail("Access denied when writing output to url: s3://%s/%s . Please ensure you are allowed to access the S3 bucket. %s", bucket, file.name, err)
		}
	}
	return nil
}

// writeLine writes a row as Athena does: all values in quotes, and nothing for NULL.
func writeLine(b *bytes.Buffer, row []*string) {
	for i, v := range row {
		if i > 0 {
			b.WriteByte(',')
		}
		if v != nil {
			b.WriteByte('"')
			b.WriteString(strings.ReplaceAll(*v, `"`, `""`))
			b.WriteByte('"')
		}
	}
	b.WriteByte('\n')
}

// readLine reads the row at the beginning of a file of results, and returns how long it is.
func readLine(raw []byte) (row []*string, n int, err error) {
	for n < len(raw) {
		var v *string
		if raw[n] == '"' {
			var text []byte
			for n++; ; n++ {
				end := bytes.IndexByte(raw[n:], '"')
				if end < 0 {
					return nil, 0, errors.New("a value has no end")
				}
				text = append(text, raw[n:n+end]...)
				if n += end + 1; n == len(raw) || raw[n] != '"' {
					break
				}
				text = append(text, '"')
			}
			whole := string(text)
			v = &whole
		}
		row = append(row, v)
		if n == len(raw) || raw[n] != ',' && raw[n] != '\n' {
			return nil, 0, errors.New("a value has something behind it")
		}
		if n++; raw[n-1] == '\n' {
			return row, n, nil
		}
	}
	return nil, 0, errors.New("a row has no end")
}

// columnInfo are the columns as ResultSetMetadata has them.
func columnInfo(columns []column) []map[string]any {
	out := make([]map[string]any, len(columns))
	for i, c := range columns {
		kind, inner, _ := strings.Cut(c.Type, "(")
		if strings.HasSuffix(c.Type, " with time zone") {
			kind += " with time zone"
		}
		precision, scale := precisions[kind], 0
		if kind == "decimal" {
			_, _ = fmt.Sscanf(inner, "%d, %d", &precision, &scale) // the engine wrote it
		}
		out[i] = map[string]any{
			"CatalogName": "hive", "SchemaName": "", "TableName": "", "Name": c.Name, "Label": c.Name, "Type": kind,
			"Precision": precision, "Scale": scale, "Nullable": "UNKNOWN", "CaseSensitive": kind == "varchar",
		}
	}
	return out
}

// precisions are digits or characters, as Athena tells them.
var precisions = map[string]int{
	"varchar": 2147483647, "bigint": 19, "integer": 10, "smallint": 5, "tinyint": 3, "double": 17, "real": 17, "timestamp": 3,
	"timestamp with time zone": 3, "varbinary": 1073741824,
}

func (s *Service) getQueryResults(c *gate.Call) (any, error) {
	var in struct {
		QueryExecutionID string `json:"QueryExecutionId"`
		NextToken        string
		MaxResults       *int
	}
	if err := read(c, &in); err != nil {
		return nil, err
	}
	most := mostPage
	if in.MaxResults != nil {
		most = *in.MaxResults
	}
	if most < 1 || most > mostPage {
		return nil, invalid("MaxResults is more than maximum allowed length %d.", mostPage)
	}
	e, err := s.execution(c, in.QueryExecutionID)
	if err != nil {
		return nil, err
	}
	if e.State != succeeded {
		if !e.done() {
			return nil, invalid("Query has not yet finished. Current state: %s", e.State)
		}
		return nil, invalid("Query did not finish successfully. Final query state: %s", e.State)
	}
	bucket, key := location(e.Results.OutputLocation)
	raw, err := s.config.Buckets.Read(c.Principal, bucket, key, mostFile)
	if err != nil {
		return nil, invalid("Could not find results, or they may not be read: %s", err)
	}
	at, err := begin(in.NextToken, e.ID, len(raw))
	if err != nil {
		return nil, err
	}
	rows := []map[string]any{}
	for at < len(raw) && len(rows) < most {
		row, n, err := readLine(raw[at:])
		if err != nil || len(row) != len(e.Columns) {
			return nil, invalid("The results at %s are not those that were written: ask the query again", e.Results.OutputLocation)
		}
		data := make([]map[string]any, len(row))
		for i, v := range row {
			if data[i] = map[string]any{}; v != nil {
				data[i]["VarCharValue"] = *v
			}
		}
		rows = append(rows, map[string]any{"Data": data})
		at += n
	}
	out := map[string]any{"UpdateCount": 0, "ResultSet": map[string]any{"Rows": rows, "ResultSetMetadata": map[string]any{"ColumnInfo": columnInfo(e.Columns)}}}
	if at < len(raw) {
		out["NextToken"] = base64.StdEncoding.EncodeToString([]byte(e.ID + "/" + strconv.Itoa(at)))
	}
	return out, nil
}

// begin is where in the file a page begins.
func begin(token, id string, size int) (int, error) {
	if token == "" {
		return 0, nil
	}
	raw, err := base64.StdEncoding.DecodeString(token)
	of, text, _ := strings.Cut(string(raw), "/")
	at, err2 := strconv.Atoi(text)
	if errors.Join(err, err2) != nil || of != id || at < 0 || at > size {
		return 0, invalid("Invalid NextToken")
	}
	return at, nil
}
