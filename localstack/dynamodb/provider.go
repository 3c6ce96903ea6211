package dynamodb

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/stile-dev/stile/localstack/dynamodb/store"
	"github.com/stile-dev/stile/localstack/iam"
	"github.com/stile-dev/stile/localstack/resource"
)

// The resource types that templates may declare.
const (
	typeTable  = "AWS::DynamoDB::Table"
	typeGlobal = "AWS::DynamoDB::GlobalTable"
)

// Types are the resource types that the server provides.
func (s *Server) Types() []string { return []string{typeTable, typeGlobal} }

// declaration is a table as a template declares it.
type declaration struct {
	name        string
	keys        []keyElement
	definitions []attributeDefinition
	view        string // of the stream; "" for none
	ttl         string
	protected   bool
	policy      string
	settings    map[string]string
	tags        map[string]string
}

// Provision creates the table, or changes what may change: time to live, stream, protection, policy,
// tags and settings. A changed key is refused, since it would mean another table.
func (s *Server) Provision(r resource.Resource) (resource.Outcome, error) {
	out, err := s.provision(r)
	if err != nil {
		return resource.Outcome{}, fmt.Errorf("providing %s %s: %w", r.Type, r.LogicalID, err)
	}
	return out, nil
}

func (s *Server) provision(r resource.Resource) (resource.Outcome, error) {
	d, err := s.declared(r)
	if err != nil {
		return resource.Outcome{}, err
	}
	if _, err := s.named(d.name); err != nil {
		return resource.Outcome{}, fmt.Errorf("property TableName: %w", err)
	}
	schema, err := schemaOf(d.keys, d.definitions)
	if err != nil {
		return resource.Outcome{}, fmt.Errorf("properties KeySchema and AttributeDefinitions: %w", err)
	}
	if d.policy != "" {
		if _, err := iam.Parse("resource policy of "+d.name, iam.ResourceShape, []byte(d.policy)); err != nil {
			return resource.Outcome{}, fmt.Errorf("property ResourcePolicy: %w", err)
		}
	}
	var meta store.Table
	err = s.store.Update(context.Background(), func(tx *store.Tx) error {
		var exists bool
		if meta, exists = tx.Table(d.name); !exists {
			meta = s.newTable(d.name, schema)
		}
		if meta.Schema != schema {
			return fmt.Errorf("property KeySchema: table %s exists with another key; give the new table another TableName", d.name)
		}
		meta = s.apply(tx, meta, d)
		return nil
	})
	if err != nil {
		return resource.Outcome{}, err
	}
	return outcomeOf(meta), nil
}

// apply brings a table to what is declared; nothing is written when nothing differs.
func (s *Server) apply(tx *store.Tx, now store.Table, d declaration) store.Table {
	next := now
	next.TTL, next.Protected, next.Policy = d.ttl, d.protected, d.policy
	next.Settings, next.Tags = d.settings, d.tags
	switch {
	case d.view == "" && now.StreamOn:
		tx.EndStream(now.StreamARN)
		next.StreamOn = false
	case d.view != "" && now.StreamOn && now.View != d.view:
		tx.EndStream(now.StreamARN)
		s.startStream(tx, &next, d.view)
	case d.view != "" && !now.StreamOn:
		s.startStream(tx, &next, d.view)
	}
	if _, exists := tx.Table(d.name); !exists || !same(now, next) {
		tx.PutTable(next)
	}
	return next
}

func same(a, b store.Table) bool {
	return a.TTL == b.TTL && a.Protected == b.Protected && a.Policy == b.Policy && a.StreamARN == b.StreamARN &&
		a.StreamOn == b.StreamOn && maps.Equal(a.Settings, b.Settings) && maps.Equal(a.Tags, b.Tags)
}

func outcomeOf(meta store.Table) resource.Outcome {
	attributes := map[string]any{"Arn": meta.ARN, "TableId": meta.ID}
	if meta.StreamOn {
		attributes["StreamArn"] = meta.StreamARN
	}
	return resource.Outcome{Ref: meta.Name, Attributes: attributes}
}

// told are properties that are recorded but change nothing here.
var told = []string{
	"BillingMode", "PointInTimeRecoverySpecification", "SSESpecification", "TableClass", "ContributorInsightsSpecification",
	"ProvisionedThroughput", "OnDemandThroughput", "WarmThroughput", "WriteProvisionedThroughputSettings",
	"WriteOnDemandThroughputSettings", "ReadProvisionedThroughputSettings", "ReadOnDemandThroughputSettings",
}

// refused are known properties that would need what isn't here, with the reason.
var refused = map[string]string{
	"GlobalSecondaryIndexes":             "secondary indexes are not served; keep a second item in the same transaction",
	"LocalSecondaryIndexes":              "secondary indexes are not served; keep a second item in the same transaction",
	"KinesisStreamSpecification":         "change data capture into Kinesis is not served; use StreamSpecification",
	"ImportSourceSpecification":          "import from S3 is not served",
	"MultiRegionConsistency":             "there is one Region here",
	"GlobalTableWitnesses":               "there is one Region here",
	"GlobalTableSourceArn":               "there is one Region here",
	"GlobalTableSettingsReplicationMode": "there is one Region here",
}

// declared reads a resource's properties; those of a GlobalTable's only replica count as the table's.
func (s *Server) declared(r resource.Resource) (declaration, error) {
	d := declaration{name: r.PhysicalID, settings: map[string]string{}, tags: map[string]string{}}
	if d.name == "" {
		d.name = generatedName(r)
	}
	properties := maps.Clone(r.Properties)
	var faults []error
	if r.Type == typeGlobal {
		replica, err := s.replica(properties["Replicas"])
		faults = append(faults, err)
		delete(properties, "Replicas")
		faults = append(faults, d.readAll(replica, "Replicas.0."))
	}
	faults = append(faults, d.readAll(properties, ""))
	return d, errors.Join(faults...)
}

// replica is the only entry of Replicas, which must be of this Region.
func (s *Server) replica(v any) (map[string]any, error) {
	list, _ := v.([]any)
	if len(list) != 1 {
		return nil, fmt.Errorf("property Replicas: there must be one replica, in Region %s, got %d", s.config.Region, len(list))
	}
	replica, _ := list[0].(map[string]any)
	if replica["Region"] != s.config.Region {
		return nil, fmt.Errorf("property Replicas: Region must be %s, got %v", s.config.Region, replica["Region"])
	}
	replica = maps.Clone(replica)
	delete(replica, "Region")
	return replica, nil
}

func (d *declaration) readAll(properties map[string]any, prefix string) error {
	var faults []error
	for _, name := range slices.Sorted(maps.Keys(properties)) {
		if err := d.read(name, properties[name]); err != nil {
			faults = append(faults, fmt.Errorf("property %s%s: %w", prefix, name, err))
		}
	}
	return errors.Join(faults...)
}

func (d *declaration) read(name string, v any) error {
	if why, ok := refused[name]; ok {
		if list, ok := v.([]any); ok && len(list) == 0 {
			return nil
		}
		return errors.New(why)
	}
	if slices.Contains(told, name) {
		return d.keep(name, v)
	}
	switch name {
	case "TableName":
		return strict(v, &d.name)
	case "KeySchema":
		return strict(v, &d.keys)
	case "AttributeDefinitions":
		return strict(v, &d.definitions)
	case "StreamSpecification":
		return d.readStream(v)
	case "TimeToLiveSpecification":
		return d.readTTL(v)
	case "DeletionProtectionEnabled":
		return boolean(v, &d.protected)
	case "ResourcePolicy":
		return d.readPolicy(v)
	case "Tags":
		return d.readTags(v)
	}
	return errors.New("is not known; see what this provider accepts, or remove it")
}

// strict decodes a resolved property into to; members that to doesn't have are refused.
func strict(v, to any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	decoder := json.NewDecoder(strings.NewReader(string(text)))
	decoder.DisallowUnknownFields()
	return decoder.Decode(to)
}

// boolean reads true and false, also as CloudFormation's strings.
func boolean(v any, to *bool) error {
	switch v {
	case true, "true":
		*to = true
	case false, "false":
		*to = false
	default:
		return fmt.Errorf("must be true or false, got %v", v)
	}
	return nil
}

// keep stores a property's text: the string itself, or JSON.
func (d *declaration) keep(name string, v any) error {
	if text, ok := v.(string); ok {
		d.settings[name] = text
		return nil
	}
	text, err := json.Marshal(v)
	d.settings[name] = string(text)
	return err
}

func (d *declaration) readStream(v any) error {
	var spec struct {
		StreamViewType string
		ResourcePolicy any
	}
	if err := strict(v, &spec); err != nil {
		return err
	}
	if spec.ResourcePolicy != nil {
		return errors.New("a stream's ResourcePolicy is not served")
	}
	d.view = spec.StreamViewType
	return checkStream(&streamSpecification{StreamEnabled: true, StreamViewType: d.view})
}

func (d *declaration) readTTL(v any) error {
	var spec struct {
		AttributeName string
		Enabled       any
	}
	if err := strict(v, &spec); err != nil {
		return err
	}
	var on bool
	if err := boolean(spec.Enabled, &on); err != nil {
		return fmt.Errorf("member Enabled: %w", err)
	}
	if on && spec.AttributeName == "" {
		return errors.New("AttributeName is missing")
	}
	if on {
		d.ttl = spec.AttributeName
	}
	return nil
}

func (d *declaration) readPolicy(v any) error {
	var spec struct{ PolicyDocument any }
	if err := strict(v, &spec); err != nil {
		return err
	}
	text, err := json.Marshal(spec.PolicyDocument)
	d.policy = string(text)
	return err
}

func (d *declaration) readTags(v any) error {
	var tags []struct{ Key, Value string }
	if err := strict(v, &tags); err != nil {
		return err
	}
	for _, t := range tags {
		d.tags[t.Key] = t.Value
	}
	return nil
}

// generatedName is stable for a stack's resource: <stack>-<logical id>-<12 characters>.
func generatedName(r resource.Resource) string {
	sum := sha256.Sum256([]byte(r.StackID + "/" + r.LogicalID))
	return fmt.Sprintf("%s-%s-%s", r.Stack, r.LogicalID, base32.StdEncoding.EncodeToString(sum[:])[:12])
}
