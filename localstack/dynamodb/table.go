package dynamodb

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/stile-dev/stile/localstack/dynamodb/item"
	"github.com/stile-dev/stile/localstack/dynamodb/store"
	"github.com/stile-dev/stile/localstack/gate"
)

type attributeDefinition struct{ AttributeName, AttributeType string }

type keyElement struct{ AttributeName, KeyType string }

type streamSpecification struct {
	StreamEnabled  bool
	StreamViewType string `json:",omitempty"`
}

type createTableRequest struct {
	TableName            string
	AttributeDefinitions []attributeDefinition
	KeySchema            []keyElement
	BillingMode          string
	StreamSpecification  *streamSpecification
	Tags                 []struct{ Key, Value string } // accepted and not kept
}

// schemaOf reads a key schema with its attributes' types.
func schemaOf(keys []keyElement, definitions []attributeDefinition) (item.Schema, error) {
	var schema item.Schema
	if len(keys) == 0 || len(keys) > 2 {
		return schema, item.Invalid("One or more parameter values were invalid: a key schema has one or two elements")
	}
	kinds := map[string]item.Kind{}
	for _, d := range definitions {
		k := item.Kind(d.AttributeType)
		if !k.Ordered() {
			return schema, constraint("attributeDefinitions.1.member.attributeType", d.AttributeType, "Member must satisfy enum value set: [B, N, S]")
		}
		kinds[d.AttributeName] = k
	}
	for n, e := range keys {
		kind, ok := kinds[e.AttributeName]
		want := []string{"HASH", "RANGE"}[n]
		switch {
		case e.KeyType != want && n == 0:
			return schema, item.Invalid("Invalid KeySchema: The first KeySchemaElement is not a HASH key type")
		case e.KeyType != want:
			return schema, item.Invalid("Invalid KeySchema: The second KeySchemaElement is not a RANGE key type")
		case !ok:
			return schema, item.Invalid("One or more parameter values were invalid: Some index key attributes are not defined in AttributeDefinitions. Keys: [" + e.AttributeName + "]")
		}
		if n == 0 {
			schema.Hash = item.Attribute{Name: e.AttributeName, Kind: kind}
		} else {
			schema.Range = item.Attribute{Name: e.AttributeName, Kind: kind}
		}
	}
	if len(kinds) != len(schema.Attributes()) || schema.Hash.Name == schema.Range.Name {
		return schema, item.Invalid("One or more parameter values were invalid: Number of attributes in KeySchema does not exactly match number of attributes defined in AttributeDefinitions")
	}
	return schema, nil
}

// views are the stream view types.
var views = []string{"NEW_IMAGE", "OLD_IMAGE", "NEW_AND_OLD_IMAGES", "KEYS_ONLY"}

// check refuses what isn't served here.
func (r *createTableRequest) check() error {
	if r.BillingMode != "PAY_PER_REQUEST" {
		return item.Invalid("Only the billing mode PAY_PER_REQUEST is served here")
	}
	return checkStream(r.StreamSpecification)
}

func checkStream(spec *streamSpecification) error {
	if spec == nil {
		return nil
	}
	if !spec.StreamEnabled && spec.StreamViewType != "" {
		return item.Invalid("One or more parameter values were invalid: Table is being created with the stream disabled, UpdateStreamRequest should not specify a StreamViewType")
	}
	if spec.StreamEnabled && spec.StreamViewType == "" {
		return item.Invalid("One or more parameter values were invalid: StreamEnabled is true, but StreamViewType is not specified")
	}
	return oneOf("streamSpecification.streamViewType", spec.StreamViewType, views...)
}

func createTable(s *Server, c *gate.Call, r *createTableRequest) (any, error) {
	name, err := s.named(r.TableName)
	if err != nil {
		return nil, err
	}
	if err := r.check(); err != nil {
		return nil, err
	}
	schema, err := schemaOf(r.KeySchema, r.AttributeDefinitions)
	if err != nil {
		return nil, err
	}
	if err := s.allow(c, access{action: "CreateTable", table: name}); err != nil {
		return nil, err
	}
	meta := s.newTable(name, schema)
	meta.Settings["BillingMode"] = r.BillingMode
	err = s.store.Update(c.HTTP.Context(), func(tx *store.Tx) error {
		if _, exists := tx.Table(name); exists {
			return &gate.Error{Code: "ResourceInUseException", Message: "Table already exists: " + name, Status: http.StatusBadRequest}
		}
		if spec := r.StreamSpecification; spec != nil && spec.StreamEnabled {
			s.startStream(tx, &meta, spec.StreamViewType)
		}
		tx.PutTable(meta)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return map[string]any{"TableDescription": describe(meta, 0, 0, "ACTIVE")}, nil
}

func (s *Server) newTable(name string, schema item.Schema) store.Table {
	return store.Table{
		Name: name, ID: newUUID(), ARN: s.tableARN(name), Schema: schema, Created: s.config.Now(),
		Settings: map[string]string{},
	}
}

// startStream gives a table a new stream.
func (s *Server) startStream(tx *store.Tx, meta *store.Table, view string) {
	created := tx.Now().UTC()
	label := created.Format("2006-01-02T15:04:05.000")
	for s.streamTaken(meta.ARN + "/stream/" + label) {
		created = created.Add(time.Millisecond)
		label = created.Format("2006-01-02T15:04:05.000")
	}
	meta.StreamARN, meta.StreamOn, meta.View = meta.ARN+"/stream/"+label, true, view
	tx.StartStream(store.Stream{
		ARN: meta.StreamARN, Label: label, Table: meta.Name, View: view, Schema: meta.Schema,
		Created: created, First: tx.Sequence() + 1,
	})
}

func (s *Server) streamTaken(arn string) (taken bool) {
	s.store.Read(func(r *store.Reader) { _, _, taken = r.Stream(arn) })
	return taken
}

type tableRequest struct{ TableName string }

func deleteTable(s *Server, c *gate.Call, r *tableRequest) (any, error) {
	name, err := s.named(r.TableName)
	if err != nil {
		return nil, err
	}
	if err := s.allow(c, access{action: "DeleteTable", table: name}); err != nil {
		return nil, err
	}
	var meta store.Table
	err = s.store.Update(c.HTTP.Context(), func(tx *store.Tx) error {
		var ok bool
		if meta, ok = tx.Table(name); !ok {
			return notFound(name)
		}
		return drop(tx, meta)
	})
	if err != nil {
		return nil, err
	}
	return map[string]any{"TableDescription": describe(meta, 0, 0, "DELETING")}, nil
}

// drop deletes a table that isn't protected.
func drop(tx *store.Tx, meta store.Table) error {
	if meta.Protected {
		return item.Invalid("Resource cannot be deleted as it is currently protected against deletion. Disable deletion protection first.")
	}
	tx.DropTable(meta.Name)
	return nil
}

func describeTable(s *Server, c *gate.Call, r *tableRequest) (any, error) {
	name, err := s.named(r.TableName)
	if err != nil {
		return nil, err
	}
	if err := s.allow(c, access{action: "DescribeTable", table: name}); err != nil {
		return nil, err
	}
	var meta store.Table
	var ok bool
	var items, bytes int
	s.store.Read(func(r *store.Reader) {
		meta, ok = r.Table(name)
		items, bytes = r.Count(name)
	})
	if !ok {
		return nil, notFound(name)
	}
	return map[string]any{"Table": describe(meta, items, bytes, "ACTIVE")}, nil
}

// describe is a TableDescription.
func describe(meta store.Table, items, bytes int, status string) map[string]any {
	keys := []keyElement{}
	definitions := []attributeDefinition{}
	for n, a := range meta.Schema.Attributes() {
		keys = append(keys, keyElement{AttributeName: a.Name, KeyType: []string{"HASH", "RANGE"}[n]})
		definitions = append(definitions, attributeDefinition{AttributeName: a.Name, AttributeType: string(a.Kind)})
	}
	out := map[string]any{
		"TableName": meta.Name, "TableArn": meta.ARN, "TableId": meta.ID, "TableStatus": status,
		"CreationDateTime": seconds(meta.Created), "KeySchema": keys, "AttributeDefinitions": definitions,
		"ItemCount": items, "TableSizeBytes": bytes, "DeletionProtectionEnabled": meta.Protected,
		"ProvisionedThroughput": map[string]any{"NumberOfDecreasesToday": 0, "ReadCapacityUnits": 0, "WriteCapacityUnits": 0},
	}
	if meta.Settings["BillingMode"] == "PAY_PER_REQUEST" {
		out["BillingModeSummary"] = map[string]any{"BillingMode": "PAY_PER_REQUEST", "LastUpdateToPayPerRequestDateTime": seconds(meta.Created)}
	}
	if meta.StreamARN != "" {
		out["LatestStreamArn"] = meta.StreamARN
		out["LatestStreamLabel"] = meta.StreamARN[strings.LastIndex(meta.StreamARN, "/")+1:]
	}
	if meta.StreamOn {
		out["StreamSpecification"] = streamSpecification{StreamEnabled: true, StreamViewType: meta.View}
	}
	return out
}

// seconds is a time as AWS's JSON writes it.
func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

type listTablesRequest struct {
	ExclusiveStartTableName string
	Limit                   *int
}

func listTables(s *Server, c *gate.Call, r *listTablesRequest) (any, error) {
	limit := 100
	if r.Limit != nil {
		limit = *r.Limit
	}
	if limit < 1 || limit > 100 {
		return nil, constraint("limit", fmt.Sprint(limit), "Member must have value between 1 and 100")
	}
	if err := s.allowAny(c, "ListTables"); err != nil {
		return nil, err
	}
	var all []string
	s.store.Read(func(r *store.Reader) { all = r.Tables() })
	all = slices.DeleteFunc(all, func(name string) bool { return name <= r.ExclusiveStartTableName })
	out := map[string]any{"TableNames": append([]string{}, all[:min(limit, len(all))]...)}
	if len(all) > limit {
		out["LastEvaluatedTableName"] = all[limit-1]
	}
	return out, nil
}
