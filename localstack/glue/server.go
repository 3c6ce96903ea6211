package glue

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"go.etcd.io/bbolt"

	"github.com/stile-dev/stile/localstack/gate"
	"github.com/stile-dev/stile/localstack/iam"
)

// maxResults is the largest page of GetTables, and its default.
const maxResults = 100

// Name is the signing name.
func (*Service) Name() string { return "glue" }

// Operations lists what the service answers.
func (*Service) Operations() []string { return []string{"GetTable", "GetTables"} }

// ServeAWS answers one call.
func (s *Service) ServeAWS(w http.ResponseWriter, c *gate.Call) {
	gate.ServeJSON(w, c, gate.JSON11, "Glue", "AWSGlue.", map[string]func(*gate.Call) (any, error){"GetTable": s.getTable, "GetTables": s.getTables})
}

// storage is the shape StorageDescriptor of Glue's answers.
type storage struct {
	Columns      []Column
	Location     string `json:",omitempty"`
	InputFormat  string `json:",omitempty"`
	OutputFormat string `json:",omitempty"`
	Compressed   bool
	SerdeInfo    struct {
		SerializationLibrary string `json:",omitempty"`
	}
}

// answer is the shape Table of Glue's answers.
type answer struct {
	Name              string
	DatabaseName      string
	CatalogID         string `json:"CatalogId"`
	Description       string `json:",omitempty"`
	TableType         string
	StorageDescriptor storage
	PartitionKeys     []Column
	ViewOriginalText  string            `json:",omitempty"`
	ViewExpandedText  string            `json:",omitempty"`
	Parameters        map[string]string `json:",omitempty"`
	Retention         int
	VersionID         string `json:"VersionId"`

	IsRegisteredWithLakeFormation bool
}

func (s *Service) answer(t Table) answer {
	a := answer{
		Name: t.Name, DatabaseName: t.Database, CatalogID: s.config.Authority.Account(), Description: t.Description, TableType: t.Type,
		PartitionKeys: orEmpty(t.Partitions), ViewOriginalText: t.ViewOriginalText, ViewExpandedText: t.ViewExpandedText,
		Parameters: t.Parameters, VersionID: t.Version,
	}
	a.StorageDescriptor.Columns, a.StorageDescriptor.Location = orEmpty(t.Columns), t.Location
	if a.TableType == "" { // it was made before views were known
		a.TableType = external
	}
	if a.TableType == external {
		d := &a.StorageDescriptor
		d.InputFormat, d.OutputFormat, d.SerdeInfo.SerializationLibrary = parquetInput, parquetOutput, parquetSerde
	}
	return a
}

func orEmpty(columns []Column) []Column {
	if columns == nil {
		return []Column{}
	}
	return columns
}

func (s *Service) getTable(c *gate.Call) (any, error) {
	var in struct {
		CatalogID    string `json:"CatalogId"`
		DatabaseName string
		Name         string
	}
	if err := s.read(c, &in, &in.CatalogID); err != nil {
		return nil, err
	}
	if in.DatabaseName == "" || in.Name == "" {
		return nil, invalid("DatabaseName and Name are needed")
	}
	database, name := strings.ToLower(in.DatabaseName), strings.ToLower(in.Name) // as Glue folds them
	for _, on := range []string{"catalog", "database/" + database, "table/" + database + "/" + name} {
		if err := c.Authorize(iam.Query{Action: "glue:GetTable", Resource: s.arn(on)}); err != nil {
			return nil, err
		}
	}
	var t Table
	err := s.db.View(func(tx *bbolt.Tx) error {
		if err := there(tx, database); err != nil {
			return err
		}
		raw := tx.Bucket(tableBucket).Get(key(database, name))
		if raw == nil {
			return absent("Entity Not Found: table " + name)
		}
		return json.Unmarshal(raw, &t)
	})
	if err != nil {
		return nil, err
	}
	return map[string]any{"Table": s.answer(t)}, nil
}

func (s *Service) getTables(c *gate.Call) (any, error) {
	var in struct {
		CatalogID    string `json:"CatalogId"`
		DatabaseName string
		MaxResults   *int
		NextToken    string
	}
	if err := s.read(c, &in, &in.CatalogID); err != nil {
		return nil, err
	}
	most := maxResults
	if in.MaxResults != nil {
		most = *in.MaxResults
	}
	if in.DatabaseName == "" || most < 1 || most > maxResults {
		return nil, invalid("DatabaseName is needed, and MaxResults of 1 to %d", maxResults)
	}
	database := strings.ToLower(in.DatabaseName)
	for _, on := range []string{"catalog", "database/" + database} {
		if err := c.Authorize(iam.Query{Action: "glue:GetTables", Resource: s.arn(on)}); err != nil {
			return nil, err
		}
	}
	found, more, err := s.page(database, in.NextToken, most)
	if err != nil {
		return nil, err
	}
	list := make([]answer, len(found))
	for i, t := range found {
		if err := c.Authorize(iam.Query{Action: "glue:GetTables", Resource: s.arn("table/" + database + "/" + t.Name)}); err != nil {
			return nil, err
		}
		list[i] = s.answer(t)
	}
	out := map[string]any{"TableList": list}
	if more {
		out["NextToken"] = found[len(found)-1].Name
	}
	return out, nil
}

// page returns up to most tables of a database whose names are behind after, and whether there are more.
func (s *Service) page(database, after string, most int) (list []Table, more bool, err error) {
	err = s.db.View(func(tx *bbolt.Tx) error {
		if err := there(tx, database); err != nil {
			return err
		}
		prefix, begin := key(database, ""), key(database, after)
		c := tx.Bucket(tableBucket).Cursor()
		for k, raw := c.Seek(begin); bytes.HasPrefix(k, prefix); k, raw = c.Next() {
			if after != "" && slices.Equal(k, begin) {
				continue
			}
			if more = len(list) == most; more {
				return nil
			}
			var t Table
			if err := json.Unmarshal(raw, &t); err != nil {
				return fmt.Errorf("reading a table of %s: %w", database, err)
			}
			list = append(list, t)
		}
		return nil
	})
	return list, more, err
}

// read decodes a request, and holds that it is for this account's catalog.
func (s *Service) read(c *gate.Call, into any, catalog *string) error {
	err := gate.ReadKnownJSON(c, into, func(member string) error {
		return invalid("the local Glue doesn't know the member %s of %s", member, c.Operation())
	})
	if err != nil {
		return err
	}
	if *catalog != "" && *catalog != s.config.Authority.Account() {
		return absent("Catalog " + *catalog + " not found.")
	}
	return nil
}

func there(tx *bbolt.Tx, database string) error {
	if tx.Bucket(databaseBucket).Get([]byte(database)) == nil {
		return absent("Database " + database + " not found.")
	}
	return nil
}

func absent(message string) error {
	return &gate.Error{Code: "EntityNotFoundException", Message: message}
}

func invalid(format string, args ...any) error {
	return &gate.Error{Code: "InvalidInputException", Message: fmt.Sprintf(format, args...)}
}
