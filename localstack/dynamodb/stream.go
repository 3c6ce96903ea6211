package dynamodb

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"net/http"
	"strings"
	"time"

	"github.com/stile-dev/stile/localstack/dynamodb/item"
	"github.com/stile-dev/stile/localstack/dynamodb/store"
	"github.com/stile-dev/stile/localstack/gate"
)

const (
	maxRecords   = 1000             // in one answer
	iteratorLife = 15 * time.Minute // of a shard iterator
)

// shardID is the name of a stream's only shard.
func shardID(st store.Stream) string {
	h := fnv.New32a()
	_, _ = h.Write([]byte(st.ARN))
	return fmt.Sprintf("shardId-%020d-%08x", st.Created.UnixMilli(), h.Sum32())
}

// openStream authorises an action on a stream and finds it.
func (s *Server) openStream(c *gate.Call, action, arn string) (st store.Stream, trimmed uint64, err error) {
	if arn == "" {
		return st, 0, constraint("streamArn", "", "Member must not be null")
	}
	if err := s.allowStream(c, action, arn); err != nil {
		return st, 0, err
	}
	var ok bool
	s.store.Read(func(r *store.Reader) { st, trimmed, ok = r.Stream(arn) })
	if !ok {
		return st, 0, &gate.Error{Code: "ResourceNotFoundException", Message: "Requested resource not found: Stream: " + arn + " not found", Status: http.StatusBadRequest}
	}
	return st, trimmed, nil
}

type describeStreamRequest struct {
	StreamArn             string
	ExclusiveStartShardID string `json:"ExclusiveStartShardId"`
	Limit                 *int
}

func describeStream(s *Server, c *gate.Call, r *describeStreamRequest) (any, error) {
	st, _, err := s.openStream(c, "DescribeStream", r.StreamArn)
	if err != nil {
		return nil, err
	}
	span := map[string]any{"StartingSequenceNumber": store.Sequence(st.First)}
	status := "ENABLED"
	if !st.Ended.IsZero() {
		status = "DISABLED"
		span["EndingSequenceNumber"] = store.Sequence(st.Last)
	}
	shards := []map[string]any{}
	if r.ExclusiveStartShardID == "" {
		shards = append(shards, map[string]any{"ShardId": shardID(st), "SequenceNumberRange": span})
	}
	keys := []keyElement{}
	for n, a := range st.Schema.Attributes() {
		keys = append(keys, keyElement{AttributeName: a.Name, KeyType: []string{"HASH", "RANGE"}[n]})
	}
	return map[string]any{"StreamDescription": map[string]any{
		"StreamArn": st.ARN, "StreamLabel": st.Label, "StreamStatus": status, "StreamViewType": st.View,
		"CreationRequestDateTime": seconds(st.Created), "TableName": st.Table, "KeySchema": keys, "Shards": shards,
	}}, nil
}

// iterator is a place in a shard: the next record is the first one after After.
type iterator struct {
	Stream string
	After  uint64
	Until  int64 // seconds since 1970 after which it is no longer valid
}

func (s *Server) iterator(arn string, after uint64) string {
	text, _ := json.Marshal(iterator{Stream: arn, After: after, Until: s.config.Now().Add(iteratorLife).Unix()})
	return arn + "|1|" + base64.StdEncoding.EncodeToString(text)
}

func (s *Server) readIterator(text string) (it iterator, err error) {
	parts := strings.Split(text, "|")
	raw, err := base64.StdEncoding.DecodeString(parts[len(parts)-1])
	if err != nil || len(parts) != 3 || json.Unmarshal(raw, &it) != nil || it.Stream != parts[0] {
		return it, item.Invalid("Invalid ShardIterator")
	}
	return it, nil
}

type shardIteratorRequest struct {
	StreamArn         string
	ShardID           string `json:"ShardId"`
	ShardIteratorType string
	SequenceNumber    string
}

func getShardIterator(s *Server, c *gate.Call, r *shardIteratorRequest) (any, error) {
	if r.ShardIteratorType == "" {
		return nil, constraint("shardIteratorType", "", "Member must not be null")
	}
	if err := oneOf("shardIteratorType", r.ShardIteratorType, "AFTER_SEQUENCE_NUMBER", "LATEST", "AT_SEQUENCE_NUMBER", "TRIM_HORIZON"); err != nil {
		return nil, err
	}
	st, trimmed, err := s.openStream(c, "GetShardIterator", r.StreamArn)
	if err != nil {
		return nil, err
	}
	if r.ShardID != shardID(st) {
		return nil, &gate.Error{Code: "ResourceNotFoundException", Message: "Requested resource not found: Shard does not exist", Status: http.StatusBadRequest}
	}
	after, err := r.after(s, st, trimmed)
	if err != nil {
		return nil, err
	}
	return map[string]any{"ShardIterator": s.iterator(st.ARN, after)}, nil
}

// after is the number after which the iterator starts.
func (r *shardIteratorRequest) after(s *Server, st store.Stream, trimmed uint64) (uint64, error) {
	start := max(trimmed, st.First-1)
	bySequence := strings.HasSuffix(r.ShardIteratorType, "SEQUENCE_NUMBER")
	switch {
	case !bySequence && r.SequenceNumber != "":
		return 0, item.Invalid("One or more parameter values were invalid: SequenceNumber should not be passed for this iterator type")
	case r.ShardIteratorType == "TRIM_HORIZON":
		return start, nil
	case r.ShardIteratorType == "LATEST":
		var last uint64
		s.store.Read(func(r *store.Reader) { last = r.Last() })
		return last, nil
	}
	n := store.Number(r.SequenceNumber)
	if n == 0 {
		return 0, item.Invalid("One or more parameter values were invalid: Invalid SequenceNumber")
	}
	if r.ShardIteratorType == "AT_SEQUENCE_NUMBER" {
		n--
	}
	if n < start {
		return 0, trimmedAccess()
	}
	return n, nil
}

func trimmedAccess() error {
	return &gate.Error{Code: "TrimmedDataAccessException", Message: "The operation attempted to read past the oldest stream record in a shard", Status: http.StatusBadRequest}
}

type getRecordsRequest struct {
	ShardIterator string
	Limit         *int
}

// streamRecord is a record as GetRecords answers it: without the ARN, and with capital letters in the identity.
type streamRecord struct {
	store.Record
	EventSourceARN string        `json:"eventSourceARN,omitempty"`
	UserIdentity   *userIdentity `json:"userIdentity,omitempty"`
}

type userIdentity struct{ PrincipalID, Type string }

// MarshalJSON writes the identity in the API's spelling.
func (u userIdentity) MarshalJSON() ([]byte, error) {
	return json.Marshal(map[string]string{"PrincipalId": u.PrincipalID, "Type": u.Type})
}

func getRecords(s *Server, c *gate.Call, r *getRecordsRequest) (any, error) {
	limit := maxRecords
	if r.Limit != nil {
		limit = *r.Limit
	}
	if limit < 1 || limit > maxRecords {
		return nil, item.Invalid("One or more parameter values were invalid: Limit should be less than or equal to 1000")
	}
	it, err := s.readIterator(r.ShardIterator)
	if err != nil {
		return nil, err
	}
	st, trimmed, err := s.openStream(c, "GetRecords", it.Stream)
	if err != nil {
		return nil, err
	}
	if s.config.Now().Unix() > it.Until {
		return nil, &gate.Error{Code: "ExpiredIteratorException", Message: "Iterator expired. The iterator was created more than 15 minutes ago.", Status: http.StatusBadRequest}
	}
	if it.After < trimmed {
		return nil, trimmedAccess()
	}
	var found []store.Record
	last := it.After
	s.store.Read(func(r *store.Reader) { found = r.Records(it.Stream, it.After, limit) })
	out := make([]streamRecord, len(found))
	for n, rec := range found {
		out[n].Record = rec
		if rec.UserIdentity != nil {
			out[n].UserIdentity = &userIdentity{PrincipalID: rec.UserIdentity.PrincipalID, Type: rec.UserIdentity.Type}
		}
		last = store.Number(rec.Change.SequenceNumber)
	}
	answer := map[string]any{"Records": out}
	if st.Ended.IsZero() || last < st.Last {
		answer["NextShardIterator"] = s.iterator(it.Stream, last)
	}
	return answer, nil
}
