package dynamodb

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"maps"

	"github.com/stile-dev/stile/localstack/dynamodb/store"
	"github.com/stile-dev/stile/localstack/resource"
)

// Types are the resource types that the server provides.
func (s *Server) Types() []string { return []string{"AWS::DynamoDB::Table"} }

// declaration is a table as a template declares it.
type declaration struct {
	name        string
	fixed       bool // the template names it
	keys        []keyElement
	definitions []attributeDefinition
	view        string // of the stream; "" for none
	ttl         string
	protected   bool
	settings    map[string]string
}

// Provision creates the table, or changes what may change: time to live, stream and protection. A changed key is
// refused, since it would mean another table.
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
	schema, err := schemaOf(d.keys, d.definitions)
	if err != nil {
		return resource.Outcome{}, fmt.Errorf("properties KeySchema and AttributeDefinitions: %w", err)
	}
	var meta store.Table
	err = s.store.Update(context.Background(), func(tx *store.Tx) error {
		var exists bool
		meta, exists = tx.Table(d.name)
		if exists && r.New() {
			if err := taken(meta, d, r.Import && d.fixed); err != nil {
				return err
			}
		}
		if !exists {
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

// Remove deletes the table, unless it is protected.
func (s *Server) Remove(r resource.Resource) error {
	return s.store.Update(context.Background(), func(tx *store.Tx) error {
		if meta, ok := tx.Table(r.PhysicalID); ok {
			return drop(tx, meta)
		}
		return nil
	})
}

// taken says what keeps a new resource from being the table that exists under its name. To take a table over changes
// nothing of it on AWS, so that it must be as it is declared before.
func taken(meta store.Table, d declaration, importing bool) error {
	switch {
	case !importing:
		return fmt.Errorf("property TableName: table %s: %w; deploy with ImportExistingResources to take it over", meta.Name, resource.ErrExists)
	case meta.View != d.view && d.view != "" || meta.StreamOn != (d.view != ""):
		return fmt.Errorf("property StreamSpecification: table %s has no stream of %s; switch it on before you take the table over", meta.Name, cmp.Or(d.view, "no view"))
	case meta.TTL != d.ttl:
		return fmt.Errorf("property TimeToLiveSpecification: the items of table %s expire by %q, not %q; switch that before you take the table over", meta.Name, meta.TTL, d.ttl)
	case meta.Protected != d.protected:
		return fmt.Errorf("property DeletionProtectionEnabled: the protection of table %s is %v; switch it before you take the table over", meta.Name, meta.Protected)
	}
	return nil
}

// apply brings a table to what is declared; nothing is written when nothing differs.
func (s *Server) apply(tx *store.Tx, now store.Table, d declaration) store.Table {
	next := now
	next.TTL, next.Protected, next.Settings = d.ttl, d.protected, d.settings
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
	return a.TTL == b.TTL && a.Protected == b.Protected && a.StreamARN == b.StreamARN &&
		a.StreamOn == b.StreamOn && maps.Equal(a.Settings, b.Settings)
}

func outcomeOf(meta store.Table) resource.Outcome {
	attributes := map[string]any{"Arn": meta.ARN}
	if meta.StreamOn {
		attributes["StreamArn"] = meta.StreamARN
	}
	return resource.Outcome{Ref: meta.Name, Attributes: attributes}
}

// declared reads a resource's properties.
func (s *Server) declared(r resource.Resource) (declaration, error) {
	in := resource.Read(r)
	in.Accept("PointInTimeRecoverySpecification")
	d := declaration{
		name: cmp.Or(r.PhysicalID, in.String("TableName"), generatedName(r)), fixed: in.Has("TableName"), protected: in.Bool("DeletionProtectionEnabled"),
		settings: map[string]string{"BillingMode": in.String("BillingMode")},
	}
	if own := in.String("TableName"); own != "" {
		if _, err := s.named(own); err != nil || r.PhysicalID != "" && r.PhysicalID != own {
			in.Fail("TableName", "table %s can't become %q; give the resource another logical id as well", r.PhysicalID, own)
		}
	}
	for i, o := range in.Objects("KeySchema") {
		one := resource.ReadObject(fmt.Sprintf("%s.KeySchema[%d]", r.LogicalID, i), o)
		d.keys = append(d.keys, keyElement{one.Required("AttributeName"), one.Required("KeyType")})
		in.Add(one.Done())
	}
	for i, o := range in.Objects("AttributeDefinitions") {
		one := resource.ReadObject(fmt.Sprintf("%s.AttributeDefinitions[%d]", r.LogicalID, i), o)
		d.definitions = append(d.definitions, attributeDefinition{one.Required("AttributeName"), one.Required("AttributeType")})
		in.Add(one.Done())
	}
	if o := in.Object("StreamSpecification"); o != nil {
		one := resource.ReadObject(r.LogicalID+".StreamSpecification", o)
		d.view = one.Required("StreamViewType")
		in.Add(one.Done())
		in.Add(checkStream(&streamSpecification{StreamEnabled: true, StreamViewType: d.view}))
	}
	if o := in.Object("TimeToLiveSpecification"); o != nil {
		one := resource.ReadObject(r.LogicalID+".TimeToLiveSpecification", o)
		if name := one.Required("AttributeName"); one.Bool("Enabled") {
			d.ttl = name
		}
		in.Add(one.Done())
	}
	return d, in.Done()
}

// generatedName is stable for a stack's resource: <stack>-<logical id>-<12 characters>.
func generatedName(r resource.Resource) string {
	sum := sha256.Sum256([]byte(r.StackID + "/" + r.Label()))
	return fmt.Sprintf("%s-%s-%s", r.Stack, r.LogicalID, base32.StdEncoding.EncodeToString(sum[:])[:12])
}
