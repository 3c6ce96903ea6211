package recent

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/deprecated"

	"github.com/stile-dev/stile/pkg/audit/arrival"
)

// row is an event with the lake's columns, as Firehose writes them: what its JSON doesn't have is NULL, and no empty text. Events
// that came by both ways are told to be one by all of their columns, so that none may differ.
type row struct {
	ID          *string            `json:"id" parquet:"id"`
	Time        *deprecated.Int96  `json:"-" parquet:"time"`
	Type        *string            `json:"type" parquet:"type"`
	Code        *string            `json:"code" parquet:"code"`
	Cluster     *string            `json:"cluster" parquet:"cluster"`
	Actor       *string            `json:"actor" parquet:"actor"`
	ActorRoles  []*string          `json:"actor_roles" parquet:"actor_roles,optional,list" parquet-element:",optional"`
	TargetKind  *string            `json:"target_kind" parquet:"target_kind"`
	Target      *string            `json:"target" parquet:"target"`
	Scope       *string            `json:"scope" parquet:"scope"`
	SessionID   *string            `json:"session_id" parquet:"session_id"`
	RequestID   *string            `json:"request_id" parquet:"request_id"`
	DecisionID  *string            `json:"decision_id" parquet:"decision_id"`
	Outcome     *string            `json:"outcome" parquet:"outcome"`
	Reason      *string            `json:"reason" parquet:"reason"`
	SourceIP    *string            `json:"source_ip" parquet:"source_ip"`
	Source      *string            `json:"source" parquet:"source"`
	SourceEpoch *string            `json:"source_epoch" parquet:"source_epoch"`
	Seq         *int64             `json:"seq" parquet:"seq"`
	SourceAfter *string            `json:"source_after" parquet:"source_after"`
	Data        map[string]*string `json:"data" parquet:"data,optional" parquet-value:",optional"`
	Writer      *string            `json:"writer" parquet:"writer"`
	Receipt     *string            `json:"receipt" parquet:"receipt"`
	Received    *deprecated.Int96  `json:"-" parquet:"received"`
}

// julianEpoch is the Julian day of 1970-01-01.
const julianEpoch = 2440588

// int96 is a time as Hive writes it: the nanoseconds of the day, then the Julian day. The zero time is none.
func int96(t time.Time) *deprecated.Int96 {
	if t.IsZero() {
		return nil
	}
	midnight := t.UTC().Truncate(24 * time.Hour)
	nanos := uint64(t.Sub(midnight))
	return &deprecated.Int96{uint32(nanos), uint32(nanos >> 32), uint32(midnight.Unix()/86400 + julianEpoch)}
}

// rowOf is the row of an event. An error means that the lake can't have it either.
func rowOf(a arrival.Arrival) (r row, err error) {
	raw, err := a.JSON()
	if err == nil {
		err = json.Unmarshal(raw, &r)
	}
	if err != nil {
		return row{}, fmt.Errorf("making a row of an event: %w", err)
	}
	r.Time, r.Received = int96(a.Event.Time), int96(a.Received)
	return r, nil
}

// encode writes rows into a file.
func encode(rows []row) ([]byte, error) {
	var b bytes.Buffer
	w := parquet.NewGenericWriter[row](&b, parquet.Compression(&parquet.Snappy))
	if _, err := w.Write(rows); err != nil {
		return nil, fmt.Errorf("writing Parquet: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("writing Parquet: %w", err)
	}
	return b.Bytes(), nil
}
