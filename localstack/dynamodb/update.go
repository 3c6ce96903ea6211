package dynamodb

import (
	"github.com/stile-dev/stile/localstack/dynamodb/item"
	"github.com/stile-dev/stile/localstack/dynamodb/store"
	"github.com/stile-dev/stile/localstack/gate"
)

type updateTableRequest struct {
	TableName                 string
	StreamSpecification       *streamSpecification
	DeletionProtectionEnabled *bool
}

// updateTable switches a table's stream and its protection: what a restored table is made equal to another with.
func updateTable(s *Server, c *gate.Call, r *updateTableRequest) (any, error) {
	if r.StreamSpecification == nil && r.DeletionProtectionEnabled == nil {
		return nil, item.Invalid("At least one of ProvisionedThroughput, BillingMode, UpdateStreamEnabled, GlobalSecondaryIndexUpdates or SSESpecification or ReplicaUpdates is required")
	}
	if err := checkStream(r.StreamSpecification); err != nil {
		return nil, err
	}
	meta, err := s.change(c, r.TableName, "UpdateTable", func(tx *store.Tx, meta *store.Table) error {
		if r.DeletionProtectionEnabled != nil {
			meta.Protected = *r.DeletionProtectionEnabled
		}
		spec := r.StreamSpecification
		switch {
		case spec == nil:
		case spec.StreamEnabled && meta.StreamOn:
			return item.Invalid("Table already has an enabled stream: TableName: " + meta.Name)
		case !spec.StreamEnabled && !meta.StreamOn:
			return item.Invalid("Table already has a disabled stream: TableName: " + meta.Name)
		case spec.StreamEnabled:
			s.startStream(tx, meta, spec.StreamViewType)
		default:
			tx.EndStream(meta.StreamARN)
			meta.StreamOn = false
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return map[string]any{"TableDescription": describe(meta, 0, 0, "UPDATING")}, nil
}

type timeToLive struct {
	AttributeName string
	Enabled       bool
}

type updateTimeToLiveRequest struct {
	TableName               string
	TimeToLiveSpecification timeToLive
}

// updateTimeToLive switches the expiry of a table's items.
func updateTimeToLive(s *Server, c *gate.Call, r *updateTimeToLiveRequest) (any, error) {
	spec := r.TimeToLiveSpecification
	if spec.AttributeName == "" {
		return nil, item.Invalid("TimeToLive AttributeName cannot be empty")
	}
	_, err := s.change(c, r.TableName, "UpdateTimeToLive", func(_ *store.Tx, meta *store.Table) error {
		switch {
		case spec.Enabled && meta.TTL != "":
			return item.Invalid("TimeToLive is already enabled")
		case !spec.Enabled && meta.TTL == "":
			return item.Invalid("TimeToLive is already disabled")
		case !spec.Enabled && meta.TTL != spec.AttributeName:
			return item.Invalid("TimeToLive is active on a different AttributeName: current AttributeName is " + meta.TTL)
		}
		meta.TTL = ""
		if spec.Enabled {
			meta.TTL = spec.AttributeName
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return map[string]any{"TimeToLiveSpecification": spec}, nil
}

// change changes a table's description on behalf of a caller who may do that.
func (s *Server) change(c *gate.Call, table, action string, do func(*store.Tx, *store.Table) error) (meta store.Table, err error) {
	name, err := s.named(table)
	if err != nil {
		return meta, err
	}
	if err := s.allow(c, access{action: action, table: name}); err != nil {
		return meta, err
	}
	err = s.store.Update(c.HTTP.Context(), func(tx *store.Tx) error {
		var ok bool
		if meta, ok = tx.Table(name); !ok {
			return notFound(name)
		}
		if err := do(tx, &meta); err != nil {
			return err
		}
		tx.PutTable(meta)
		return nil
	})
	return meta, err
}
