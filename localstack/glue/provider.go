package glue

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.etcd.io/bbolt"

	"github.com/stile-dev/stile/localstack/property"
	"github.com/stile-dev/stile/localstack/resource"
)

// databaseSpec is AWS::Glue::Database.
type databaseSpec struct {
	CatalogID     string `json:"CatalogId"`
	DatabaseInput struct{ Name, Description string }
}

// tableSpec is AWS::Glue::Table.
type tableSpec struct {
	CatalogID    string `json:"CatalogId"`
	DatabaseName string
	TableInput   struct {
		Name, Description, TableType       string
		ViewOriginalText, ViewExpandedText string
		Parameters                         map[string]property.Text
		PartitionKeys                      []columnSpec
		StorageDescriptor                  struct {
			Columns                             []columnSpec
			Location, InputFormat, OutputFormat string
			Compressed                          property.Bool
			SerdeInfo                           struct {
				Name, SerializationLibrary string
				Parameters                 map[string]property.Text
			}
		}
	}
}

type columnSpec struct{ Name, Type, Comment string }

// What a table of Parquet files has to say, so that Athena reads it.
const (
	parquetInput  = "org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat"
	parquetOutput = "org.apache.hadoop.hive.ql.io.parquet.MapredParquetOutputFormat"
	parquetSerde  = "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe"
)

// nameForm is what names may be: Glue folds them to lower case, so that others would not be found under what a template
// calls them.
var nameForm = regexp.MustCompile(`^[a-z0-9_]{1,255}$`)

// Types names what the service provisions from templates.
func (*Service) Types() []string { return []string{"AWS::Glue::Database", "AWS::Glue::Table"} }

// Provision creates or updates a database or a table.
func (s *Service) Provision(r resource.Resource) (resource.Outcome, error) {
	if r.Type == "AWS::Glue::Table" {
		return s.provisionTable(r)
	}
	var spec databaseSpec
	if err := property.Decode(r.Properties, &spec); err != nil {
		return resource.Outcome{}, err
	}
	name := spec.DatabaseInput.Name
	if err := errors.Join(s.checkCatalog(spec.CatalogID), checkName("DatabaseInput.Name", name), same(r, name)); err != nil {
		return resource.Outcome{}, err
	}
	err := s.db.Update(func(tx *bbolt.Tx) error {
		if r.New() && tx.Bucket(databaseBucket).Get([]byte(name)) != nil {
			return fmt.Errorf("database %s: %w", name, resource.ErrExists)
		}
		return tx.Bucket(databaseBucket).Put([]byte(name), []byte("{}"))
	})
	if err != nil {
		return resource.Outcome{}, fmt.Errorf("%s: %w", r.LogicalID, err)
	}
	return resource.Outcome{Ref: name}, nil
}

func (s *Service) checkCatalog(id string) error {
	if account := s.config.Authority.Account(); id != account {
		return fmt.Errorf("property CatalogId: %q is not this account, %s", id, account)
	}
	return nil
}

func checkName(property, name string) error {
	if !nameForm.MatchString(name) {
		return fmt.Errorf("property %s: %q is none: use 1 to 255 lower-case letters, digits and _", property, name)
	}
	return nil
}

// same refuses a new name for what is there: CloudFormation replaces it.
func same(r resource.Resource, name string) error {
	if r.PhysicalID != "" && r.PhysicalID != name {
		return fmt.Errorf("%s cannot be renamed to %s", r.PhysicalID, name)
	}
	return nil
}

func (s *Service) provisionTable(r resource.Resource) (resource.Outcome, error) {
	var spec tableSpec
	if err := property.Decode(r.Properties, &spec); err != nil {
		return resource.Outcome{}, err
	}
	t := spec.table()
	if err := errors.Join(s.checkCatalog(spec.CatalogID), spec.check(t), same(r, t.Name)); err != nil {
		return resource.Outcome{}, err
	}
	err := s.db.Update(func(tx *bbolt.Tx) error {
		if tx.Bucket(databaseBucket).Get([]byte(t.Database)) == nil {
			return fmt.Errorf("property DatabaseName: database %s: %w", t.Database, ErrNotFound)
		}
		return keepTable(tx.Bucket(tableBucket), r, t)
	})
	if err != nil {
		return resource.Outcome{}, fmt.Errorf("%s: %w", r.LogicalID, err)
	}
	return resource.Outcome{Ref: t.Name}, nil
}

// keepTable writes a table under its next version, unless nothing has changed.
func keepTable(b *bbolt.Bucket, r resource.Resource, t Table) error {
	t.Version = "0"
	if raw := b.Get(key(t.Database, t.Name)); raw != nil {
		var was Table
		if err := json.Unmarshal(raw, &was); err != nil {
			return err
		}
		if r.New() {
			return fmt.Errorf("table %s.%s: %w", t.Database, t.Name, resource.ErrExists)
		}
		if t.Version = was.Version; reflect.DeepEqual(was, t) {
			return nil
		}
		n, err := strconv.Atoi(was.Version)
		if err != nil {
			return err
		}
		t.Version = strconv.Itoa(n + 1)
	}
	raw, err := json.Marshal(t)
	if err != nil {
		return err
	}
	return b.Put(key(t.Database, t.Name), raw)
}

func (spec tableSpec) table() Table {
	in := spec.TableInput
	t := Table{
		Database: spec.DatabaseName, Name: in.Name, Type: in.TableType, Description: in.Description, Location: in.StorageDescriptor.Location,
		ViewOriginalText: in.ViewOriginalText, ViewExpandedText: in.ViewExpandedText,
	}
	for _, c := range in.StorageDescriptor.Columns {
		t.Columns = append(t.Columns, Column{c.Name, strings.ReplaceAll(c.Type, " ", ""), c.Comment})
	}
	for _, c := range in.PartitionKeys {
		t.Partitions = append(t.Partitions, Column(c))
	}
	for name, value := range in.Parameters {
		if t.Parameters == nil {
			t.Parameters = map[string]string{}
		}
		t.Parameters[name] = string(value)
	}
	return t
}

// check refuses a table that Athena could not read, or Firehose not write.
func (spec tableSpec) check(t Table) error {
	d := spec.TableInput.StorageDescriptor
	errs := []error{checkName("DatabaseName", t.Database), checkName("TableInput.Name", t.Name)}
	switch {
	case t.Type != external && t.Type != virtual:
		errs = append(errs, fmt.Errorf("property TableType: %q is not supported here, only %s and %s are", t.Type, external, virtual))
	case len(t.Columns) == 0:
		errs = append(errs, errors.New("property Columns is missing"))
	case t.Type == virtual:
		errs = append(errs, t.checkView())
		if d.InputFormat != "" || d.OutputFormat != "" || d.SerdeInfo.SerializationLibrary != "" || bool(d.Compressed) {
			errs = append(errs, errors.New("property StorageDescriptor: a view has columns alone, and no format"))
		}
	case t.ViewOriginalText != "" || t.ViewExpandedText != "":
		errs = append(errs, fmt.Errorf("property ViewOriginalText: only a %s has one", virtual))
	case d.InputFormat != parquetInput || d.OutputFormat != parquetOutput || d.SerdeInfo.SerializationLibrary != parquetSerde:
		errs = append(errs, fmt.Errorf("property StorageDescriptor: only Parquet is supported here: InputFormat %s, OutputFormat %s, SerializationLibrary %s",
			parquetInput, parquetOutput, parquetSerde))
	case !strings.HasPrefix(t.Location, "s3://"):
		errs = append(errs, fmt.Errorf("property Location: %q does not begin with s3://", t.Location))
	}
	seen := map[string]bool{}
	for i, c := range slices.Concat(t.Columns, t.Partitions) {
		kinds := Kinds
		if i >= len(t.Columns) {
			kinds = []string{"string", "int", "bigint", "date"}
		}
		errs = append(errs, checkName("Columns", c.Name))
		if seen[c.Name] {
			errs = append(errs, fmt.Errorf("property Columns: %s appears twice", c.Name))
		}
		if seen[c.Name] = true; t.Type != virtual && !slices.Contains(kinds, c.Type) {
			errs = append(errs, fmt.Errorf("property Columns: %s has the type %q, and here it may be %s", c.Name, c.Type, strings.Join(kinds, ", ")))
		}
		if t.Type == virtual && !hiveForm.MatchString(c.Type) {
			errs = append(errs, fmt.Errorf("property Columns: %s has the type %q, which is none of Hive", c.Name, c.Type))
		}
	}
	return errors.Join(append(errs, t.checkProjection())...)
}

// Remove deletes a database with its tables, as Glue does, or a table.
func (s *Service) Remove(r resource.Resource) error {
	if r.Type == "AWS::Glue::Table" {
		var spec tableSpec
		if err := property.Decode(r.Properties, &spec); err != nil {
			return err
		}
		return s.db.Update(func(tx *bbolt.Tx) error { return tx.Bucket(tableBucket).Delete(key(spec.DatabaseName, r.PhysicalID)) })
	}
	return s.db.Update(func(tx *bbolt.Tx) error {
		tables, prefix := tx.Bucket(tableBucket), key(r.PhysicalID, "")
		var gone [][]byte
		c := tables.Cursor()
		for k, _ := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, _ = c.Next() {
			gone = append(gone, bytes.Clone(k))
		}
		for _, k := range gone {
			if err := tables.Delete(k); err != nil {
				return err
			}
		}
		return tx.Bucket(databaseBucket).Delete([]byte(r.PhysicalID))
	})
}

// sorted are a map's keys in order, so that errors are the same each time.
func sorted(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }
