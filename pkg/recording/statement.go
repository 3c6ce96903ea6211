package recording

import (
	"encoding/json"
	"fmt"
	"time"
)

// StatementName is the name of a [Statement] beside the chunks.
const StatementName = "statement.json"

// How long a recording's agent counts as alive after it claimed the recording, and how often it claims it again until the
// manifest is in S3.
const (
	LeaseFor   = 2 * time.Hour
	ClaimEvery = 30 * time.Minute
)

// Statement is what the control plane says of a recording whose agent isn't heard of any more. It is not signed and proves
// nothing of what was shown. A manifest that comes later stands above it.
type Statement struct {
	V       int       `json:"v"` // 1
	Session string    `json:"session"`
	Cluster string    `json:"cluster"`
	Agent   string    `json:"agent"`             // the last one that claimed the recording
	Lapsed  time.Time `json:"lapsed"`            // until when the agent counted as alive
	Made    time.Time `json:"made"`              // the control plane's clock
	Chunks  int       `json:"chunks"`            // how many there were
	Size    int64     `json:"size"`              // of all of them, in bytes, as they are in S3
	Missing []Missing `json:"missing,omitempty"` // chunks that weren't there, of those before the last that was; at most 200 runs
	Last    string    `json:"last,omitempty"`    // hex SHA-256 of the last chunk that was there, as S3 has it
}

// Marshal returns the bytes of statement.json.
func (s Statement) Marshal() []byte { return marshal(s) }

// OpenStatement reads statement.json.
func OpenStatement(b []byte) (Statement, error) {
	var s Statement
	if len(b) > MaxManifest {
		return s, fmt.Errorf("the statement has more than %d bytes", MaxManifest)
	}
	if err := json.Unmarshal(b, &s); err != nil {
		return s, fmt.Errorf("reading a statement: %w", err)
	}
	if s.V != 1 || s.Chunks < 0 || s.Chunks > MaxChunks {
		return s, fmt.Errorf("reading a statement: its form is %d, with %d chunks", s.V, s.Chunks)
	}
	return s, nil
}
