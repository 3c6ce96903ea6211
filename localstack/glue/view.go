package glue

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Athena keeps its views in the catalog, with their query in a comment that holds JSON in base64. It reads that only when
// a view is queried, and then says that the view is invalid or stale. So what is wrong with it fails the deployment here.

const (
	external = "EXTERNAL_TABLE"
	virtual  = "VIRTUAL_VIEW"

	prestoView = "presto_view"
	viewBegins = "/* Presto View: "
	viewEnds   = " */"
	viewText   = "/* Presto View */"

	maxViewText = 409600 // characters, of TableInput in Glue's API reference
)

// viewKeys are the texts that a view's JSON needs beside its columns.
var viewKeys = []string{"originalSql", "catalog", "schema"}

// hiveTypes finds in a type what only Hive calls so: views have Presto's types, which are varchar and array(varchar).
var hiveTypes = regexp.MustCompile(`(?i)\b(string|binary|struct)\b|<`)

// hiveForm is what the type of a view's column may be in StorageDescriptor, which no data has to match.
var hiveForm = regexp.MustCompile(`^(tinyint|smallint|int|bigint|float|double|boolean|string|varchar|char|binary|date|timestamp|decimal|array<.+>|map<.+,.+>|struct<.+:.+>)(\([0-9,]+\))?$`)

// checkView refuses a view that Athena could not read.
func (t Table) checkView() error {
	var errs []error
	if len(t.Partitions) > 0 {
		errs = append(errs, errors.New("property PartitionKeys: a view has none"))
	}
	if t.Location != "" {
		errs = append(errs, errors.New("property Location: a view has none"))
	}
	if got := t.Parameters[prestoView]; got != "true" {
		errs = append(errs, fmt.Errorf("parameter %s: a view needs true, not %q", prestoView, got))
	}
	if t.ViewExpandedText != viewText {
		errs = append(errs, fmt.Errorf("property ViewExpandedText: a view needs %q, not %.100q", viewText, t.ViewExpandedText))
	}
	if err := t.checkOriginal(); err != nil {
		errs = append(errs, fmt.Errorf("property ViewOriginalText: %w", err))
	}
	return errors.Join(errs...)
}

func (t Table) checkOriginal() error {
	if len(t.ViewOriginalText) > maxViewText {
		return fmt.Errorf("it is longer than %d characters", maxViewText)
	}
	rest, begins := strings.CutPrefix(t.ViewOriginalText, viewBegins)
	encoded, ends := strings.CutSuffix(rest, viewEnds)
	if !begins || !ends {
		return fmt.Errorf("it has to be %q, JSON in base64, and %q", viewBegins, viewEnds)
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if err != nil {
		return fmt.Errorf("what is between %q and %q is no base64: %w", viewBegins, viewEnds, err)
	}
	var view map[string]json.RawMessage // names are told apart by case
	if err := json.Unmarshal(raw, &view); err != nil {
		return fmt.Errorf("what it has in base64 is no JSON object: %w", err)
	}
	for _, name := range viewKeys {
		if text(view[name]) == "" {
			return fmt.Errorf("its JSON has no text %s", name)
		}
	}
	if catalog := text(view["catalog"]); catalog != "awsdatacatalog" {
		return fmt.Errorf("its catalog is %.100q, and here only awsdatacatalog is there", catalog)
	}
	return t.checkViewColumns(view["columns"])
}

// checkViewColumns holds that the view's own columns are those of the table.
func (t Table) checkViewColumns(raw json.RawMessage) error {
	var columns []map[string]json.RawMessage
	if err := json.Unmarshal(raw, &columns); err != nil || len(columns) == 0 {
		return errors.New("its JSON has no columns, a list of objects with name and type")
	}
	names := make([]string, len(columns))
	for i, c := range columns {
		name, kind := text(c["name"]), text(c["type"])
		switch {
		case name == "":
			return fmt.Errorf("its column %d has no name", i)
		case kind == "":
			return fmt.Errorf("its column %.100s has no type", name)
		case hiveTypes.MatchString(kind):
			return fmt.Errorf("its column %.100s has the type %.100q, which is Hive's and not Presto's: a string is a varchar, a list an array(…)", name, kind)
		}
		names[i] = name
	}
	declared := make([]string, len(t.Columns))
	for i, c := range t.Columns {
		declared[i] = c.Name
	}
	if !slices.Equal(names, declared) {
		return fmt.Errorf("its columns are %.400q, and those of StorageDescriptor %.400q", names, declared)
	}
	return nil
}

// text reads a JSON string; "" is what is none.
func text(raw json.RawMessage) (s string) {
	if err := json.Unmarshal(raw, &s); err != nil {
		return ""
	}
	return s
}
