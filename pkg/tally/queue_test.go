package tally_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/checked"
	"github.com/stile-dev/stile/pkg/checked/book"
	"github.com/stile-dev/stile/pkg/ledger"
	"github.com/stile-dev/stile/pkg/ledger/reader"
	"github.com/stile-dev/stile/pkg/store/storetest"
	"github.com/stile-dev/stile/pkg/table"
	"github.com/stile-dev/stile/pkg/tally"
)

// hall is a cluster that signs, with the queue of what CloudTrail says of it. What is received is hidden until the next look.
type hall struct {
	t      *testing.T
	db     *storetest.Tables
	ledger *ledger.Ledger
	tally  *tally.Tally
	book   *book.Book
	now    time.Time

	mu      sync.Mutex
	queue   []types.Message
	hidden  map[string]bool
	most    int   // messages that were out at once
	refuse  error // of the next deletion
	numbers int
}

const (
	roleUser = "arn:aws:iam::111122223333:role/stile-sign-user-eu-central-1"
	roleHost = "arn:aws:iam::111122223333:role/stile-sign-host-eu-central-1"
	roleDocs = "arn:aws:iam::111122223333:role/stile-publish-eu-central-1"
	key      = "arn:aws:kms:eu-central-1:111122223333:key/1"
)

func newHall(t *testing.T) *hall {
	db, _ := storetest.New()
	h := &hall{t: t, db: db, hidden: map[string]bool{}, now: time.Date(2026, 11, 28, 9, 30, 0, 0, time.UTC)}
	h.ledger = ledger.New(ledger.Config{DynamoDB: db, Table: "ledger", Now: func() time.Time { return h.now }})
	h.tally = h.opened(h.ledger)
	h.book = book.New(book.Config{DynamoDB: db, State: "state", Ledger: h.ledger, Cluster: "c", Writer: "function/sweep", Entropy: rand.Reader})
	h.look() // since then, or rather from ten o'clock on, signatures are compared
	if _, err := h.run(); err != nil {
		t.Fatal(err)
	}
	h.now = first
	return h
}

func (h *hall) opened(l tally.Ledger) *tally.Tally {
	return tally.New(tally.Config{
		Queue: h, URL: "https://queue", DynamoDB: h.db, Claims: "ledger", State: "state", Ledger: l, Cluster: "c", For: time.Minute,
		Signers: map[string]string{roleUser: "sign-user", roleHost: "sign-host", roleDocs: "publish"},
	})
}

func (h *hall) ReceiveMessage(_ context.Context, in *sqs.ReceiveMessageInput, _ ...func(*sqs.Options)) (*sqs.ReceiveMessageOutput, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := &sqs.ReceiveMessageOutput{}
	for _, m := range h.queue {
		if len(out.Messages) < int(in.MaxNumberOfMessages) && !h.hidden[*m.ReceiptHandle] {
			out.Messages, h.hidden[*m.ReceiptHandle] = append(out.Messages, m), true
		}
	}
	h.most += len(out.Messages)
	return out, nil
}

func (h *hall) DeleteMessage(_ context.Context, in *sqs.DeleteMessageInput, _ ...func(*sqs.Options)) (*sqs.DeleteMessageOutput, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.refuse; err != nil {
		h.refuse = nil
		return nil, err
	}
	h.queue = slices.DeleteFunc(h.queue, func(m types.Message) bool { return *m.ReceiptHandle == *in.ReceiptHandle })
	return &sqs.DeleteMessageOutput{}, nil
}

// bring puts a message into the queue.
func (h *hall) bring(body string) {
	h.numbers++
	handle := fmt.Sprint("handle-", h.numbers)
	h.queue = append(h.queue, types.Message{
		Body: &body, ReceiptHandle: &handle, Attributes: map[string]string{"SentTimestamp": fmt.Sprint(h.now.UnixMilli())},
	})
}

// signs has a role sign: CloudTrail has a record of it, in the form that EventBridge brings.
func (h *hall) signs(role, request string, at time.Time) string {
	body, err := json.Marshal(map[string]any{
		"source": "aws.kms", "detail-type": "AWS API Call via CloudTrail", "detail": map[string]any{
			"eventTime": at.Format(time.RFC3339), "eventSource": "kms.amazonaws.com", "eventName": "Sign", "requestID": request, "readOnly": true,
			"userIdentity": map[string]any{
				"type": "AssumedRole", "arn": strings.Replace(role, ":iam:", ":sts:", 1) + "/x", "sessionContext": map[string]any{"sessionIssuer": map[string]any{"type": "Role", "arn": role}},
			},
			"resources": []any{map[string]any{"ARN": key, "type": "AWS::KMS::Key"}},
		},
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return string(body)
}

// signed is a record of now in the queue.
func (h *hall) signed(role, request string) { h.bring(h.signs(role, request, h.now)) }

func (h *hall) claim(function string, requests ...string) {
	h.t.Helper()
	storetest.Must(h.t, h.ledger.Claim(h.t.Context(), ledger.Claim{Function: function, Of: "crt", Requests: requests}))
}

// publishes has documents signed, which is claimed and recorded.
func (h *hall) publishes() {
	h.t.Helper()
	h.numbers++
	request := fmt.Sprint("document-", h.numbers)
	h.claim("publish", request)
	h.signed(roleDocs, request)
}

// look is a look into the queue: the requests that it told, in their order.
func (h *hall) look() (told []string) {
	h.t.Helper()
	h.mu.Lock()
	h.hidden = map[string]bool{}
	h.mu.Unlock()
	all, err := h.tally.Settle(h.t.Context(), h.now)
	storetest.Must(h.t, err)
	for _, u := range all {
		told = append(told, u.Request)
	}
	slices.Sort(told)
	return told
}

// after looks after a time.
func (h *hall) after(d time.Duration, want ...string) {
	h.t.Helper()
	h.now = h.now.Add(d)
	if told := h.look(); !slices.Equal(told, want) {
		h.t.Errorf("told %q, want %q", told, want)
	}
}

// left fails the test unless so many messages are in the queue.
func (h *hall) left(n int) {
	h.t.Helper()
	if len(h.queue) != n {
		h.t.Errorf("%d messages are left in the queue, want %d", len(h.queue), n)
	}
}

// told are the events of a type, as readers of the ledger see them.
func (h *hall) told(of audit.Type) (all []audit.Event) {
	h.t.Helper()
	var items []table.Item
	for k, i := range h.db.Items {
		if strings.HasPrefix(k, "ledger|event#function/sweep#") {
			items = append(items, i)
		}
	}
	for _, e := range reader.Judge(items).Entries {
		if e.Standing != reader.Proven {
			h.t.Errorf("%+v", e)
		}
		if e.Event.Type == of {
			all = append(all, e.Event)
		}
	}
	return all
}

// first is the first hour that is compared.
var first = time.Date(2026, 11, 28, 10, 0, 0, 0, time.UTC)

// run states hours as functions/sweep does.
func (h *hall) run() (lacking []tally.Unrecorded, err error) {
	_, err = h.book.Run(h.t.Context(), checked.Signatures, h.now, tally.Patience, func(ctx context.Context, from time.Time) (checked.Statement, bool, error) {
		s, some, ready, err := h.tally.Hour(ctx, from)
		lacking = append(lacking, some...)
		return s, ready, err
	})
	return lacking, err
}

// states states what it is time for, and returns what is said of hours that are compared.
func (h *hall) states() (stated []checked.Statement, lacking []tally.Unrecorded) {
	h.t.Helper()
	before := h.told(audit.EvidenceChecked)
	lacking, err := h.run()
	storetest.Must(h.t, err)
	for _, e := range h.told(audit.EvidenceChecked) {
		s, ok := checked.Read(e)
		if !ok || s.Check != checked.Signatures {
			h.t.Errorf("%+v", e)
		}
		if !s.From.Before(first) && !slices.ContainsFunc(before, func(b audit.Event) bool { return b.ID == e.ID }) {
			stated = append(stated, s)
		}
	}
	slices.SortFunc(stated, func(a, b checked.Statement) int { return a.From.Compare(b.From) })
	return stated, lacking
}

// hour states the hour that began at ten, one after it has ended.
func (h *hall) hour() (checked.Statement, []tally.Unrecorded) {
	h.t.Helper()
	h.now = first.Add(90 * time.Minute)
	h.look()
	all, lacking := h.states()
	if len(all) != 1 || !all[0].From.Equal(first) {
		h.t.Fatalf("stated: %+v", all)
	}
	return all[0], lacking
}

// full is a ledger that takes nothing.
type full struct{}

var errFull = errors.New("the ledger takes nothing")

func (full) Append(context.Context, ...audit.Event) error { return errFull }
