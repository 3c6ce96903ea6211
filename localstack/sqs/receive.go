package sqs

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/stile-dev/stile/localstack/gate"
)

// receiving is what ReceiveMessage asks for.
type receiving struct {
	MaxNumberOfMessages         *int
	VisibilityTimeout           *int
	WaitTimeSeconds             int
	MessageAttributeNames       []string
	AttributeNames              []string
	MessageSystemAttributeNames []string
}

func (s *Service) receiveMessage(c *gate.Call, q queue) (any, error) {
	var in receiving
	if err := gate.ReadJSON(c, &in); err != nil {
		return nil, err
	}
	most, hidden := 1, q.Visibility
	if in.MaxNumberOfMessages != nil {
		most = *in.MaxNumberOfMessages
	}
	if in.VisibilityTimeout != nil {
		hidden = *in.VisibilityTimeout
	}
	switch {
	case most < 1 || most > 10:
		return nil, bad("Value %d for parameter MaxNumberOfMessages is invalid. Reason: Must be between 1 and 10, if provided.", most)
	case hidden < 0 || hidden > maxVisibility:
		return nil, bad("Value %d for parameter VisibilityTimeout is invalid. Reason: Must be between 0 and %d, if provided.", hidden, maxVisibility)
	case in.WaitTimeSeconds < 0 || in.WaitTimeSeconds > 20:
		return nil, bad("Value %d for parameter WaitTimeSeconds is invalid. Reason: Must be >= 0 and <= 20, if provided.", in.WaitTimeSeconds)
	}
	found, err := s.await(c.HTTP.Context(), q, most, time.Duration(hidden)*time.Second, time.Duration(in.WaitTimeSeconds)*time.Second)
	if err != nil {
		return nil, err
	}
	list := make([]map[string]any, len(found))
	for i, m := range found {
		list[i] = m.told(in)
	}
	if len(list) == 0 {
		return map[string]any{}, nil
	}
	return map[string]any{"Messages": list}, nil
}

// await takes messages, or waits for one until the time is over or ctx ends.
func (s *Service) await(ctx context.Context, q queue, most int, hidden, wait time.Duration) ([]message, error) {
	over := time.NewTimer(wait)
	defer over.Stop()
	for {
		woken := s.waiting(q.Name)
		found, next, err := s.take(q, most, hidden)
		if err != nil || len(found) > 0 || wait == 0 {
			return found, err
		}
		shown := time.NewTimer(next)
		select {
		case <-woken:
		case <-shown.C:
		case <-over.C:
			wait = 0
		case <-ctx.Done():
			shown.Stop()
			return nil, nil
		}
		shown.Stop()
	}
}

// take receives up to most visible messages and hides them; next is how long it takes until another is visible.
func (s *Service) take(q queue, most int, hidden time.Duration) (found []message, next time.Duration, err error) {
	now := s.config.Now().UTC()
	next = time.Minute
	err = s.db.Update(func(tx *bbolt.Tx) error {
		b := tx.Bucket(messageBucket).Bucket([]byte(q.Name))
		if b == nil {
			return nil
		}
		if err := q.expire(b, now); err != nil {
			return err
		}
		flying := 0
		var changed []message
		var keys [][]byte
		err := b.ForEach(func(k, raw []byte) error {
			if len(found) == most {
				return nil
			}
			var m message
			if err := json.Unmarshal(raw, &m); err != nil {
				return err
			}
			if now.Before(m.Visible) {
				next = min(next, m.Visible.Sub(now))
				flying++
				return nil
			}
			if flying+len(found) >= maxInFlight {
				return &gate.Error{Code: "OverLimit", Message: fmt.Sprintf("More than %d messages are in flight.", maxInFlight)}
			}
			m.Received++
			if m.First.IsZero() {
				m.First = now
			}
			m.Visible, m.Receipt = now.Add(hidden), receipt(k)
			keys, changed, found = append(keys, bytes.Clone(k)), append(changed, m), append(found, m)
			return nil
		})
		if err != nil {
			return err
		}
		for i, k := range keys {
			if err := write(b, k, changed[i]); err != nil {
				return err
			}
		}
		return nil
	})
	return found, max(next, time.Millisecond), err
}

// expire deletes what is older than the queue retains. Messages are in the order in which they were sent.
func (q queue) expire(b *bbolt.Bucket, now time.Time) error {
	var gone [][]byte
	c := b.Cursor()
	for k, v := c.First(); k != nil; k, v = c.Next() {
		var m message
		if err := json.Unmarshal(v, &m); err != nil {
			return err
		}
		if now.Sub(m.Sent) < time.Duration(q.Retention)*time.Second {
			break
		}
		gone = append(gone, bytes.Clone(k))
	}
	for _, k := range gone {
		if err := b.Delete(k); err != nil {
			return err
		}
	}
	return nil
}

// receipt is a new handle of the message under a key.
func receipt(key []byte) string {
	return base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "%d %s", binary.BigEndian.Uint64(key), rand.Text()))
}

// told is a message as its receiver gets it.
func (m message) told(in receiving) map[string]any {
	out := map[string]any{"MessageId": m.ID, "ReceiptHandle": m.Receipt, "Body": m.Body, "MD5OfBody": digest([]byte(m.Body))}
	system := map[string]string{}
	for name, value := range map[string]string{
		"SenderId": m.Sender, "SentTimestamp": millis(m.Sent), "ApproximateFirstReceiveTimestamp": millis(m.First), "ApproximateReceiveCount": strconv.Itoa(m.Received),
	} {
		if wants(slices.Concat(in.AttributeNames, in.MessageSystemAttributeNames), name) {
			system[name] = value
		}
	}
	if len(system) > 0 {
		out["Attributes"] = system
	}
	chosen := map[string]Attribute{}
	for name, a := range m.Attributes {
		if wants(in.MessageAttributeNames, name) {
			chosen[name] = a
		}
	}
	if len(chosen) > 0 {
		out["MessageAttributes"], out["MD5OfMessageAttributes"] = chosen, digestOf(chosen)
	}
	return out
}

// wants reports whether a list of names, of which one may be All or .* or end in .*, has a name.
func wants(names []string, name string) bool {
	return slices.ContainsFunc(names, func(one string) bool {
		head, any := strings.CutSuffix(one, ".*")
		return one == "All" || one == name || any && strings.HasPrefix(name, head)
	})
}

func millis(t time.Time) string { return strconv.FormatInt(t.UnixMilli(), 10) }

// deleteMessage deletes what a handle was given for. One of an earlier time deletes nothing, as on AWS, and no error says so.
func (s *Service) deleteMessage(c *gate.Call, q queue) (any, error) {
	var in struct{ ReceiptHandle string }
	if err := gate.ReadJSON(c, &in); err != nil {
		return nil, err
	}
	raw, err := base64.StdEncoding.DecodeString(in.ReceiptHandle)
	text, _, _ := strings.Cut(string(raw), " ")
	n, err2 := strconv.ParseUint(text, 10, 64)
	if err != nil || err2 != nil {
		return nil, &gate.Error{Code: "ReceiptHandleIsInvalid", Message: "The input receipt handle is invalid."}
	}
	key := binary.BigEndian.AppendUint64(nil, n)
	err = s.db.Update(func(tx *bbolt.Tx) error {
		b := tx.Bucket(messageBucket).Bucket([]byte(q.Name))
		if b == nil {
			return nil
		}
		raw := b.Get(key)
		var m message
		if raw == nil {
			return nil
		}
		if err := json.Unmarshal(raw, &m); err != nil || m.Receipt != in.ReceiptHandle {
			return err
		}
		return b.Delete(key)
	})
	return map[string]any{}, err
}

func (s *Service) purgeQueue(_ *gate.Call, q queue) (any, error) {
	return map[string]any{}, s.db.Update(func(tx *bbolt.Tx) error { return drop(tx, q.Name) })
}

// drop deletes a queue's messages.
func drop(tx *bbolt.Tx, name string) error {
	if err := tx.Bucket(messageBucket).DeleteBucket([]byte(name)); err != nil && !errors.Is(err, berrors.ErrBucketNotFound) {
		return err
	}
	return nil
}

func (s *Service) getQueueAttributes(c *gate.Call, q queue) (any, error) {
	var in struct{ AttributeNames []string }
	if err := gate.ReadJSON(c, &in); err != nil {
		return nil, err
	}
	visible, hidden, delayed, err := s.counted(q)
	if err != nil {
		return nil, err
	}
	all := map[string]string{
		"ApproximateNumberOfMessages": strconv.Itoa(visible), "ApproximateNumberOfMessagesNotVisible": strconv.Itoa(hidden), "ApproximateNumberOfMessagesDelayed": strconv.Itoa(delayed),
		"QueueArn": s.arn(q.Name), "VisibilityTimeout": strconv.Itoa(q.Visibility), "MessageRetentionPeriod": strconv.Itoa(q.Retention),
		"MaximumMessageSize": strconv.Itoa(maxMessage), "DelaySeconds": "0", "ReceiveMessageWaitTimeSeconds": "0", "SqsManagedSseEnabled": strconv.FormatBool(q.Encrypted),
		"CreatedTimestamp": strconv.FormatInt(q.Created.Unix(), 10), "LastModifiedTimestamp": strconv.FormatInt(q.Modified.Unix(), 10),
	}
	if len(q.Declared) > 0 {
		all["Policy"] = string(q.Declared)
	}
	out := map[string]string{}
	for _, name := range in.AttributeNames {
		if _, known := all[name]; !known && name != "All" && name != "Policy" {
			return nil, &gate.Error{Code: "InvalidAttributeName", Message: "Unknown Attribute " + name + "."}
		}
	}
	for name, value := range all {
		if slices.Contains(in.AttributeNames, name) || slices.Contains(in.AttributeNames, "All") {
			out[name] = value
		}
	}
	return map[string]any{"Attributes": out}, nil
}

// counted is how many messages may be received, were received, and are delayed.
func (s *Service) counted(q queue) (visible, hidden, delayed int, err error) {
	now := s.config.Now().UTC()
	err = s.db.Update(func(tx *bbolt.Tx) error {
		b := tx.Bucket(messageBucket).Bucket([]byte(q.Name))
		if b == nil {
			return nil
		}
		if err := q.expire(b, now); err != nil {
			return err
		}
		return b.ForEach(func(_, raw []byte) error {
			var m message
			err := json.Unmarshal(raw, &m)
			switch {
			case !now.Before(m.Visible):
				visible++
			case m.Received == 0:
				delayed++
			default:
				hidden++
			}
			return err
		})
	})
	return visible, hidden, delayed, err
}

// newUUID is a random UUID, version 4.
func newUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails; see crypto/rand
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
