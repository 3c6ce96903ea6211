package athena

import (
	"encoding/json"
	"errors"
	"regexp"
	"strings"
	"time"

	"go.etcd.io/bbolt"
)

// The states of an execution.
const (
	queued    = "QUEUED"
	running   = "RUNNING"
	succeeded = "SUCCEEDED"
	failed    = "FAILED"
	cancelled = "CANCELLED"
)

// kept is how long an execution is told of, as Athena's user guide says of the query history.
const keptFor = 45 * 24 * time.Hour

// execution is one run of a query, as it is kept.
type execution struct {
	ID         string
	Text       string
	Parameters []string `json:",omitempty"`
	Group      string
	Database   string  `json:",omitempty"`
	Catalog    string  `json:",omitempty"`
	Results    results // OutputLocation is the file's
	Token      string  `json:",omitempty"` // that the caller gave, behind the caller
	State      string
	Reason     string `json:",omitempty"`
	Submitted  time.Time
	Begun      time.Time `json:",omitzero"`
	Completed  time.Time `json:",omitzero"`
	Scanned    int64     // bytes
	Columns    []column  `json:",omitempty"`
}

func (e execution) done() bool { return e.State != queued && e.State != running }

var keyword = regexp.MustCompile(`^(?:\s|--[^\n]*\n|/\*(?s:.*?)\*/|\()*([A-Za-z]+)`)

// kind is StatementType of a statement, by its first word.
func (e execution) kind() string {
	m := keyword.FindStringSubmatch(e.Text)
	if m == nil {
		return "UTILITY"
	}
	switch strings.ToUpper(m[1]) {
	case "SELECT", "WITH", "VALUES", "INSERT", "UPDATE", "DELETE", "MERGE", "UNLOAD":
		return "DML"
	case "CREATE", "DROP", "ALTER", "MSCK":
		return "DDL"
	}
	return "UTILITY"
}

// seconds are those since 1970 with milliseconds, as JSON has times; nil of a time that hasn't come.
func seconds(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return float64(t.UnixMilli()) / 1000
}

// answer is QueryExecution of Athena's API reference.
func (e execution) answer() map[string]any {
	status := map[string]any{"State": e.State, "SubmissionDateTime": seconds(e.Submitted)}
	if e.Reason != "" {
		status["StateChangeReason"] = e.Reason
	}
	statistics := map[string]any{"DataScannedInBytes": e.Scanned}
	if e.done() {
		status["CompletionDateTime"] = seconds(e.Completed)
		begun := e.Begun
		if begun.IsZero() {
			begun = e.Completed
		}
		statistics["EngineExecutionTimeInMillis"] = e.Completed.Sub(begun).Milliseconds()
		statistics["QueryQueueTimeInMillis"] = begun.Sub(e.Submitted).Milliseconds()
		statistics["TotalExecutionTimeInMillis"] = e.Completed.Sub(e.Submitted).Milliseconds()
	}
	context := map[string]any{}
	if e.Database != "" {
		context["Database"] = e.Database
	}
	if e.Catalog != "" {
		context["Catalog"] = e.Catalog
	}
	out := map[string]any{
		"QueryExecutionId": e.ID, "Query": e.Text, "StatementType": e.kind(), "WorkGroup": e.Group, "QueryExecutionContext": context,
		"ResultConfiguration": e.Results, "Status": status, "Statistics": statistics,
		"EngineVersion": version{auto, engine},
	}
	if len(e.Parameters) > 0 {
		out["ExecutionParameters"] = e.Parameters
	}
	return out
}

// find returns an execution, or errAbsent.
func (s *Service) find(id string) (e execution, err error) {
	err = s.db.View(func(tx *bbolt.Tx) error { return get(tx, executionBucket, id, &e) })
	return e, err
}

// change edits an execution that isn't done; of one that is it returns what it came to.
func (s *Service) change(id string, edit func(*execution)) (e execution, err error) {
	err = s.db.Update(func(tx *bbolt.Tx) error {
		if err := get(tx, executionBucket, id, &e); err != nil || e.done() {
			return err
		}
		edit(&e)
		if e.done() {
			e.Completed = s.config.Now().UTC()
		}
		return put(tx, executionBucket, id, e)
	})
	return e, err
}

// sweep forgets what is too old, and ends what the process before left in the middle.
func (s *Service) sweep(tx *bbolt.Tx) error {
	b, now := tx.Bucket(executionBucket), s.config.Now().UTC()
	var old, cut []execution
	err := b.ForEach(func(_, raw []byte) error {
		var e execution
		if err := json.Unmarshal(raw, &e); err != nil {
			return err
		}
		switch {
		case e.Submitted.Add(keptFor).Before(now):
			old = append(old, e)
		case !e.done():
			e.State, e.Reason, e.Completed = failed, "the local AWS was stopped while the query ran: ask it again", now
			cut = append(cut, e)
		}
		return nil
	})
	for _, e := range cut {
		err = errors.Join(err, put(tx, executionBucket, e.ID, e))
	}
	for _, e := range old {
		err = errors.Join(err, b.Delete([]byte(e.ID)))
		if e.Token != "" {
			err = errors.Join(err, tx.Bucket(tokenBucket).Delete([]byte(e.Token)))
		}
	}
	return err
}
