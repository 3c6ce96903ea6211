package sqs

import (
	"crypto/md5" //nolint:gosec // SQS tells it of every message, and SDKs compare it
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"go.etcd.io/bbolt"

	"github.com/stile-dev/stile/localstack/gate"
	"github.com/stile-dev/stile/localstack/iam"
)

// Limits, from "Amazon SQS message quotas" in its developer guide. AWS has raised the size to a megabyte in 2025; here it is
// what a queue took before, and still takes if its MaximumMessageSize says so.
const (
	maxMessage    = 256 << 10 // bytes of body and attributes, of a message and of a batch together
	maxEntries    = 10        // of a batch
	maxAttributes = 10
	maxInFlight   = 120_000
)

// Attribute is a message's attribute.
type Attribute struct {
	DataType    string
	StringValue string `json:",omitempty"`
	BinaryValue []byte `json:",omitempty"`
}

// message is a message as it is kept.
type message struct {
	ID         string
	Body       string
	Attributes map[string]Attribute `json:",omitempty"`
	Sender     string
	Sent       time.Time
	First      time.Time // received first; zero if never
	Received   int       // how often
	Visible    time.Time // from then on it may be received
	Receipt    string    // of the last time
}

type entry struct {
	ID                      string `json:"Id"`
	MessageBody             string
	MessageAttributes       map[string]Attribute
	MessageSystemAttributes map[string]Attribute
	DelaySeconds            int
	MessageGroupID          string `json:"MessageGroupId"`
	MessageDeduplicationID  string `json:"MessageDeduplicationId"`
}

func (e entry) size() int {
	n := len(e.MessageBody)
	for name, a := range e.MessageAttributes {
		n += len(name) + len(a.DataType) + len(a.StringValue) + len(a.BinaryValue)
	}
	return n
}

var attributeForm = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,256}$`)

// check refuses what SQS refuses, or what is not supported here.
func (e entry) check() error {
	switch {
	case e.MessageBody == "":
		return missing("MessageBody")
	case !characters(e.MessageBody):
		return &gate.Error{Code: "InvalidMessageContents", Message: "Invalid characters found. Valid unicode characters are #x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | #x10000 to #x10FFFF"}
	case e.size() > maxMessage:
		return bad("One or more parameters are invalid. Reason: Message must be shorter than %d bytes.", maxMessage)
	case len(e.MessageAttributes) > maxAttributes:
		return bad("Number of message attributes [%d] exceeds the allowed maximum [%d].", len(e.MessageAttributes), maxAttributes)
	case e.DelaySeconds < 0 || e.DelaySeconds > 900:
		return bad("Value %d for parameter DelaySeconds is invalid. Reason: DelaySeconds must be >= 0 and <= 900.", e.DelaySeconds)
	case e.MessageGroupID != "" || e.MessageDeduplicationID != "" || len(e.MessageSystemAttributes) > 0:
		return bad("message groups, deduplication and system attributes are not supported here")
	}
	for name, a := range e.MessageAttributes {
		kind, _, _ := strings.Cut(a.DataType, ".")
		binary := kind == "Binary"
		if !attributeForm.MatchString(name) || kind != "String" && kind != "Number" && !binary || binary != (len(a.BinaryValue) > 0) || binary == (a.StringValue != "") {
			return bad("The message attribute '%s' has an invalid name, type or value.", name)
		}
	}
	return nil
}

// characters reports whether a text has only those that XML 1.0 takes.
func characters(text string) bool {
	if !utf8.ValidString(text) {
		return false
	}
	return !strings.ContainsFunc(text, func(r rune) bool {
		return r < 0x20 && r != '\t' && r != '\n' && r != '\r' || r == 0xFFFE || r == 0xFFFF
	})
}

func (s *Service) sendMessage(c *gate.Call, q queue) (any, error) {
	var in entry
	if err := gate.ReadJSON(c, &in); err != nil {
		return nil, err
	}
	if err := in.check(); err != nil {
		return nil, err
	}
	ids, err := s.keep(q, sender(c.Principal), []entry{in})
	if err != nil {
		return nil, err
	}
	return sent(in, ids[0]), nil
}

func sender(p *iam.Principal) string { return p.String() }

// sent is what SendMessage says of a message.
func sent(e entry, id string) map[string]any {
	out := map[string]any{"MessageId": id, "MD5OfMessageBody": digest([]byte(e.MessageBody))}
	if len(e.MessageAttributes) > 0 {
		out["MD5OfMessageAttributes"] = digestOf(e.MessageAttributes)
	}
	return out
}

var idForm = regexp.MustCompile(`^[A-Za-z0-9_-]{1,80}$`)

func (s *Service) sendMessageBatch(c *gate.Call, q queue) (any, error) {
	var in struct{ Entries []entry }
	if err := gate.ReadJSON(c, &in); err != nil {
		return nil, err
	}
	switch n := len(in.Entries); {
	case n == 0:
		return nil, &gate.Error{Code: "EmptyBatchRequest", Message: "There should be at least one SendMessageBatchRequestEntry in the request."}
	case n > maxEntries:
		return nil, &gate.Error{Code: "TooManyEntriesInBatchRequest", Message: fmt.Sprintf("Maximum number of entries per request are %d. You have sent %d.", maxEntries, n)}
	}
	total, seen := 0, map[string]bool{}
	for _, e := range in.Entries {
		if !idForm.MatchString(e.ID) {
			return nil, &gate.Error{Code: "InvalidBatchEntryId", Message: "A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can be at most 80 letters long."}
		}
		if seen[e.ID] {
			return nil, &gate.Error{Code: "BatchEntryIdsNotDistinct", Message: "Id " + e.ID + " repeated."}
		}
		seen[e.ID] = true
		total += e.size()
	}
	if total > maxMessage {
		return nil, &gate.Error{Code: "BatchRequestTooLong", Message: fmt.Sprintf("Batch requests cannot be longer than %d bytes. You have sent %d bytes.", maxMessage, total)}
	}
	var good []entry
	failed := []map[string]any{}
	for _, e := range in.Entries {
		if fault, bad := errors.AsType[*gate.Error](e.check()); bad {
			failed = append(failed, map[string]any{"Id": e.ID, "SenderFault": true, "Code": fault.Code, "Message": fault.Message})
			continue
		}
		good = append(good, e)
	}
	ids, err := s.keep(q, sender(c.Principal), good)
	if err != nil {
		return nil, err
	}
	successful := make([]map[string]any, len(good))
	for i, e := range good {
		successful[i] = sent(e, ids[i])
		successful[i]["Id"] = e.ID
	}
	return map[string]any{"Successful": successful, "Failed": failed}, nil
}

// Send sends a message for an AWS service, or as a role that such a service acts as. Context has what is known of the
// source, such as aws:SourceArn. The error is a [*gate.Error] if the message was refused.
func (s *Service) Send(who *iam.Principal, context map[string][]string, arn, body string, attributes map[string]string) error {
	name := arn[strings.LastIndex(arn, ":")+1:]
	q, there, err := s.find(name)
	if err != nil {
		return err
	}
	policies, err := q.policies()
	if err != nil {
		return err
	}
	query := iam.Query{Action: "sqs:SendMessage", Resource: arn, ResourcePolicies: policies, Context: map[string][]string{"aws:SecureTransport": {"true"}}}
	maps.Copy(query.Context, context)
	if d := s.config.Authority.Decide(who, query); !d.Allowed {
		return &gate.Error{Code: "AccessDenied", Status: 403, Message: fmt.Sprintf("%s may not sqs:SendMessage on %s %s", who, arn, d.Reason)}
	}
	if !there || s.arn(name) != arn {
		return noQueue()
	}
	e := entry{MessageBody: body}
	for key, value := range attributes {
		if e.MessageAttributes == nil {
			e.MessageAttributes = map[string]Attribute{}
		}
		e.MessageAttributes[key] = Attribute{DataType: "String", StringValue: value}
	}
	if err := e.check(); err != nil {
		return err
	}
	_, err = s.keep(q, sender(who), []entry{e})
	return err
}

// keep writes messages into a queue and wakes who waits for one.
func (s *Service) keep(q queue, sender string, entries []entry) (ids []string, err error) {
	now := s.config.Now().UTC()
	err = s.db.Update(func(tx *bbolt.Tx) error {
		b, err := tx.Bucket(messageBucket).CreateBucketIfNotExists([]byte(q.Name))
		if err != nil {
			return err
		}
		for _, e := range entries {
			m := message{ID: newUUID(), Body: e.MessageBody, Attributes: e.MessageAttributes, Sender: sender, Sent: now, Visible: now.Add(time.Duration(e.DelaySeconds) * time.Second)}
			n, err := b.NextSequence()
			if err != nil {
				return err
			}
			if err := write(b, binary.BigEndian.AppendUint64(nil, n), m); err != nil {
				return err
			}
			ids = append(ids, m.ID)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("keeping a message: %w", err)
	}
	s.wake(q.Name)
	return ids, nil
}

func write(b *bbolt.Bucket, key []byte, m message) error {
	raw, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return b.Put(key, raw)
}

// waiting is closed when a message comes into a queue.
func (s *Service) waiting(name string) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.woken[name] == nil {
		s.woken[name] = make(chan struct{})
	}
	return s.woken[name]
}

func (s *Service) wake(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.woken[name]; c != nil {
		close(c)
		delete(s.woken, name)
	}
}

func digest(b []byte) string {
	sum := md5.Sum(b) //nolint:gosec // as above
	return hex.EncodeToString(sum[:])
}

// digestOf is the MD5 of attributes, as "Amazon SQS message metadata" in the developer guide has it.
func digestOf(attributes map[string]Attribute) string {
	var b []byte
	put := func(text []byte) { b = append(binary.BigEndian.AppendUint32(b, uint32(len(text))), text...) }
	for _, name := range slices.Sorted(maps.Keys(attributes)) {
		a := attributes[name]
		put([]byte(name))
		put([]byte(a.DataType))
		if len(a.BinaryValue) > 0 {
			b = append(b, 2)
			put(a.BinaryValue)
			continue
		}
		b = append(b, 1)
		put([]byte(a.StringValue))
	}
	return digest(b)
}
