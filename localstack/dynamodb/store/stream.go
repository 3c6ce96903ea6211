package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/stile-dev/stile/localstack/dynamodb/item"
)

// Stream is a table's stream of changes.
type Stream struct {
	ARN     string
	Label   string
	Table   string
	View    string // KEYS_ONLY, NEW_IMAGE, OLD_IMAGE or NEW_AND_OLD_IMAGES
	Schema  item.Schema
	Created time.Time
	Ended   time.Time // zero while it takes records
	First   uint64    // sequence number from which its shard begins
	Last    uint64    // sequence number at which it ended
}

// stream is a Stream with its records.
type stream struct {
	Stream
	records []Record
	trimmed uint64        // records up to here have aged out
	more    chan struct{} // closed when a record comes
}

// Identity is who made a change that no caller made.
type Identity struct {
	Type        string `json:"type"`
	PrincipalID string `json:"principalId"`
}

// Record is one change, in the shape of Lambda's DynamoDB event.
type Record struct {
	EventID        string    `json:"eventID"`
	EventName      string    `json:"eventName"` // INSERT, MODIFY or REMOVE
	EventVersion   string    `json:"eventVersion"`
	EventSource    string    `json:"eventSource"`
	AWSRegion      string    `json:"awsRegion"`
	Change         Change    `json:"dynamodb"`
	EventSourceARN string    `json:"eventSourceARN"`
	UserIdentity   *Identity `json:"userIdentity,omitempty"`
}

// Change is what a record says about the item.
type Change struct {
	ApproximateCreationDateTime int64     `json:"ApproximateCreationDateTime"` // seconds since 1970
	Keys                        item.Item `json:"Keys"`
	NewImage                    item.Item `json:"NewImage,omitempty"`
	OldImage                    item.Item `json:"OldImage,omitempty"`
	SequenceNumber              string    `json:"SequenceNumber"`
	SizeBytes                   int       `json:"SizeBytes"`
	StreamViewType              string    `json:"StreamViewType"`
}

// change is what happened to one item.
type change struct {
	old, new item.Item
	at       time.Time
	by       *Identity
}

func newRecord(t Table, seq uint64, c change) Record {
	r := Record{
		EventName: "MODIFY", EventVersion: "1.1", EventSource: "aws:dynamodb",
		EventSourceARN: t.StreamARN, UserIdentity: c.by, AWSRegion: region(t.ARN),
	}
	held := c.new
	switch {
	case c.old == nil:
		r.EventName = "INSERT"
	case c.new == nil:
		r.EventName, held = "REMOVE", c.old
	}
	r.Change = Change{
		ApproximateCreationDateTime: c.at.Unix(), Keys: t.Schema.Only(held),
		SequenceNumber: sequence(seq), StreamViewType: t.View,
	}
	if t.View == "NEW_IMAGE" || t.View == "NEW_AND_OLD_IMAGES" {
		r.Change.NewImage = c.new
	}
	if t.View == "OLD_IMAGE" || t.View == "NEW_AND_OLD_IMAGES" {
		r.Change.OldImage = c.old
	}
	r.Change.SizeBytes = r.Change.Keys.Size() + r.Change.NewImage.Size() + r.Change.OldImage.Size()
	sum := sha256.Sum256([]byte(t.StreamARN + r.Change.SequenceNumber))
	r.EventID = hex.EncodeToString(sum[:16])
	return r
}

// region is the fourth part of an ARN.
func region(arn string) string {
	start := 0
	for n := range 4 {
		end := start
		for end < len(arn) && arn[end] != ':' {
			end++
		}
		if n == 3 {
			return arn[start:end]
		}
		start = min(end+1, len(arn))
	}
	return ""
}

// Number is a sequence number as a count; 0 for what is not one.
func Number(sequence string) uint64 {
	if len(sequence) != 21 || sequence[0] != '1' {
		return 0
	}
	n, err := strconv.ParseUint(sequence[1:], 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// Sequence writes a count as a sequence number.
func Sequence(n uint64) string { return sequence(n) }

func (s *stream) after(n uint64, limit int) []Record {
	at, found := slices.BinarySearchFunc(s.records, sequence(n), func(r Record, want string) int {
		switch {
		case r.Change.SequenceNumber < want:
			return -1
		case r.Change.SequenceNumber > want:
			return 1
		}
		return 0
	})
	if found {
		at++
	}
	return slices.Clone(s.records[at:min(len(s.records), at+limit)])
}

// horizon is the number of the last record made before t.
func (s *stream) horizon(t time.Time) uint64 {
	last := s.trimmed
	for _, r := range s.records {
		if r.Change.ApproximateCreationDateTime >= t.Unix() {
			break
		}
		last = Number(r.Change.SequenceNumber)
	}
	return last
}

func (s *stream) trim(upTo uint64) {
	s.trimmed = upTo
	s.records = s.after(upTo, len(s.records))
}

// ErrNoStream is the answer for an ARN that names no stream.
var ErrNoStream = errors.New("no such stream")

// Stream is the stream of that ARN, with the number of the last record that has aged out.
func (r *Reader) Stream(arn string) (s Stream, trimmed uint64, ok bool) {
	held := r.store.streams[arn]
	if held == nil {
		return Stream{}, 0, false
	}
	return held.Stream, held.trimmed, true
}

// Records are at most limit records after number n.
func (r *Reader) Records(arn string, n uint64, limit int) []Record {
	if s := r.store.streams[arn]; s != nil {
		return s.after(n, limit)
	}
	return nil
}

// Last is the number of the newest change of the whole store.
func (r *Reader) Last() uint64 { return r.store.seq }

// Wait is Records, but waits until there is at least one, the stream has gone, or ctx is done.
func (s *Store) Wait(ctx context.Context, arn string, after uint64, limit int) ([]Record, error) {
	for {
		s.mu.RLock()
		st := s.streams[arn]
		var found []Record
		var more chan struct{}
		if st != nil {
			found, more = st.after(after, limit), st.more
		}
		s.mu.RUnlock()
		if st == nil {
			return nil, ErrNoStream
		}
		if len(found) > 0 {
			return found, nil
		}
		select {
		case <-more:
		case <-s.closed:
			return nil, ErrClosed
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
