package custom_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/aws/aws-lambda-go/cfn"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"

	"github.com/stile-dev/stile/pkg/custom"
	"github.com/stile-dev/stile/pkg/fault"
)

// place is where a presigned URL leads. Its query is a credential.
const place = "http://response.test/answer?X-Amz-Signature=SECRET"

// mailbox takes answers as the bucket behind a presigned URL does. Until statuses is empty it answers with those, 0 being a
// broken connection.
type mailbox struct {
	statuses []int
	tries    []time.Time
	headers  http.Header
	body     []byte
}

func (m *mailbox) RoundTrip(r *http.Request) (*http.Response, error) {
	m.tries = append(m.tries, time.Now())
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	status := http.StatusOK
	if len(m.statuses) > 0 {
		status, m.statuses = m.statuses[0], m.statuses[1:]
	}
	if status == 0 {
		return nil, errors.New("connection reset")
	}
	if status == http.StatusOK && r.Method == http.MethodPut && r.URL.String() == place {
		m.body, m.headers = body, r.Header
	}
	return &http.Response{StatusCode: status, Header: http.Header{"Location": {"http://elsewhere.test/"}}, Body: http.NoBody, Request: r}, nil
}

// open lets the mailbox receive all that the test sends.
func (m *mailbox) open(t *testing.T) *mailbox {
	t.Helper()
	before := http.DefaultTransport
	http.DefaultTransport = m
	t.Cleanup(func() { http.DefaultTransport = before })
	return m
}

type reply struct {
	Status, Reason, PhysicalResourceID, StackID, RequestID, LogicalResourceID string
	Data                                                                      map[string]any
}

func (m *mailbox) reply(t *testing.T) reply {
	t.Helper()
	var r reply
	if err := json.Unmarshal(m.body, &r); err != nil {
		t.Fatalf("%s: %v", m.body, err)
	}
	return r
}

// send sends an event that differs from a Create in some fields, and returns what was logged.
func send(ctx context.Context, t *testing.T, other map[string]any, run custom.Run) (log string, err error) {
	t.Helper()
	fields := map[string]any{
		"RequestType": "Create", "ResponseURL": place, "StackId": "arn:stack", "RequestId": "req-1", "LogicalResourceId": "Documents",
		"ResourceProperties": map[string]any{"ServiceTimeout": "300"},
	}
	maps.Copy(fields, other)
	event, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	var lines bytes.Buffer
	_, err = custom.Handle(slog.New(slog.NewJSONHandler(&lines, nil)), run)(ctx, event)
	return lines.String(), err
}

func makes(data map[string]any, err error) custom.Run {
	return func(context.Context, cfn.Event) (map[string]any, error) { return data, err }
}

func TestEveryEndIsAnswered(t *testing.T) {
	success := func(id string, data map[string]any) reply {
		return reply{Status: "SUCCESS", PhysicalResourceID: id, Data: data}
	}
	failure := func(id, why string) reply { return reply{Status: "FAILED", PhysicalResourceID: id, Reason: why} }
	const read = "; read the function's log, then deploy again"
	for name, k := range map[string]struct {
		other map[string]any
		run   custom.Run
		want  reply
	}{
		"a Create": {nil, makes(map[string]any{"Version": "1.2"}, nil), success("stile-Documents", map[string]any{"Version": "1.2"})},
		"an Update keeps the id": {
			map[string]any{"RequestType": "Update", "PhysicalResourceId": "made-by-an-older-revision"},
			makes(nil, nil), success("made-by-an-older-revision", nil),
		},
		"a fault": {
			nil, makes(map[string]any{"Half": "done"}, fault.New(fault.BadInput, "the value is wrong", "correct it").With("account", "not 12 digits")),
			failure("stile-Documents", "the value is wrong; account: not 12 digits; correct it"),
		},
		"an error without words for people": {
			nil, makes(nil, errors.New("signing: AccessDenied")), failure("stile-Documents", "something went wrong inside Stile: signing: AccessDenied"+read),
		},
		"an Update that failed": {
			map[string]any{"RequestType": "Update", "PhysicalResourceId": "x"}, makes(nil, fault.New(fault.Conflict, "held", "wait")), failure("x", "held; wait"),
		},
		"a panic": {
			nil, func(context.Context, cfn.Event) (map[string]any, error) { panic("no such key") },
			failure("stile-Documents", "something went wrong inside Stile: panic: no such key"+read),
		},
		"data that are no JSON": {
			nil, makes(map[string]any{"F": func() {}}, nil),
			failure("stile-Documents", "the function's data can't be written: json: unsupported type: func()"+read),
		},
		"an unknown request": {
			map[string]any{"RequestType": "Replace"},
			makes(nil, nil),
			failure("stile-Documents", `something went wrong inside Stile: reading CloudFormation's event: there is no request type "Replace"`+read),
		},
	} {
		m := new(mailbox).open(t)
		_, err := send(t.Context(), t, k.other, k.run)
		k.want.StackID, k.want.RequestID, k.want.LogicalResourceID = "arn:stack", "req-1", "Documents"
		if d := cmp.Diff(k.want, m.reply(t)); d != "" || err != nil {
			t.Errorf("%s: %v %s", name, err, d)
		}
		if ct := m.headers.Values("Content-Type"); len(ct) != 0 {
			t.Errorf("%s: the presigned URL takes no Content-Type, got %s", name, ct)
		}
	}
}

// What can't be read is answered too, if it says where: CloudFormation would wait until its deadline.
func TestAnEventThatCannotBeReadIsAnswered(t *testing.T) {
	m := new(mailbox).open(t)
	_, err := send(t.Context(), t, map[string]any{"ResourceProperties": []string{"no", "map"}}, makes(nil, nil))
	if r := m.reply(t); err != nil || r.Status != "FAILED" || r.PhysicalResourceID != "stile-Documents" || !strings.Contains(r.Reason, "ResourceProperties") {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := send(t.Context(), t, map[string]any{"ResponseURL": ""}, makes(nil, nil)); err == nil {
		t.Error("an event without a URL is no error")
	}
}

// A Create that failed is followed by a Delete with the id of its answer, and a stack may be deleted when nothing that the
// function needs is left.
func TestADeleteIsASuccessAndRunsNothing(t *testing.T) {
	for _, id := range []string{"stile-Documents", "never-heard-of", "req-1"} {
		m := new(mailbox).open(t)
		_, err := send(t.Context(), t, map[string]any{"RequestType": "Delete", "PhysicalResourceId": id}, func(context.Context, cfn.Event) (map[string]any, error) {
			t.Error("a Delete ran")
			return nil, nil
		})
		if r := m.reply(t); err != nil || r.Status != "SUCCESS" || r.PhysicalResourceID != id {
			t.Errorf("%s: %+v, %v", id, r, err)
		}
	}
}

// The first of the two deadlines counts, whether the run heeds its context or not.
func TestAnAnswerComesBeforeEveryDeadline(t *testing.T) {
	heeds := func(ctx context.Context, _ cfn.Event) (map[string]any, error) {
		<-ctx.Done()
		return nil, errors.New("waiting for the lease: " + ctx.Err().Error())
	}
	ignores := func(context.Context, cfn.Event) (map[string]any, error) {
		<-time.After(time.Hour)
		return map[string]any{"Late": "1"}, nil
	}
	finishes := func(ctx context.Context, _ cfn.Event) (map[string]any, error) {
		<-ctx.Done()
		return map[string]any{"Just": "done"}, nil
	}
	for name, k := range map[string]struct {
		lambda     time.Duration
		timeout    string
		run        custom.Run
		within     time.Duration
		want, says string
	}{
		"Lambda's":                       {60 * time.Second, "300", heeds, 50 * time.Second, "FAILED", "didn't end within 50s: waiting for the lease: context deadline exceeded; deploy again"},
		"CloudFormation's":               {15 * time.Minute, "120", heeds, 110 * time.Second, "FAILED", "didn't end within 1m50s"},
		"of a run that ignores it":       {60 * time.Second, "300", ignores, 51 * time.Second, "FAILED", "didn't end within 50s: context deadline exceeded"},
		"of a short time":                {4 * time.Second, "300", heeds, 2 * time.Second, "FAILED", "didn't end within 2s"},
		"of a run that ends in the last": {60 * time.Second, "300", finishes, 50 * time.Second, "SUCCESS", ""},
		"without a number":               {60 * time.Second, "soon", heeds, 50 * time.Second, "FAILED", "didn't end within 50s"},
	} {
		synctest.Test(t, func(t *testing.T) {
			m := new(mailbox).open(t)
			ctx, cancel := context.WithTimeout(t.Context(), k.lambda)
			defer cancel()
			started := time.Now()
			_, err := send(ctx, t, map[string]any{"ResourceProperties": map[string]any{"ServiceTimeout": k.timeout}}, k.run)
			r, took := m.reply(t), time.Since(started)
			if err != nil || took != k.within || r.Status != k.want || !strings.Contains(r.Reason, k.says) || r.PhysicalResourceID != "stile-Documents" {
				t.Errorf("%s: %+v after %v, %v", name, r, took, err)
			}
			<-time.After(time.Hour) // what was left behind ends
		})
	}
}

// IAM applies the policies of a role some time after it was made.
func TestWhatIsDeniedIsTriedAgainForAWhile(t *testing.T) {
	denial := fault.New(fault.Unavailable, "no key", "wait").Because(fmt.Errorf("signing: %w", &smithy.GenericAPIError{Code: "AccessDeniedException"}))
	for name, k := range map[string]struct {
		lambda time.Duration
		denied int
		err    error
		ran    int
		took   time.Duration
		want   string
	}{
		"until it is allowed":            {time.Minute, 3, denial, 4, 9 * time.Second, "SUCCESS"},
		"and then refused":               {5 * time.Minute, 100, denial, 21, time.Minute, "FAILED"},
		"for a minute":                   {5 * time.Minute, 20, denial, 21, time.Minute, "SUCCESS"},
		"within the deadline":            {20 * time.Second, 100, denial, 4, 10 * time.Second, "FAILED"},
		"but nothing else":               {time.Minute, 100, &smithy.GenericAPIError{Code: "ValidationException"}, 1, 0, "FAILED"},
		"nor what Stile itself denies":   {time.Minute, 100, fault.New(fault.Denied, "no", "ask"), 1, 0, "FAILED"},
		"S3 says it in another word too": {time.Minute, 1, &smithy.GenericAPIError{Code: "AccessDenied"}, 2, 3 * time.Second, "SUCCESS"},
	} {
		synctest.Test(t, func(t *testing.T) {
			m := new(mailbox).open(t)
			ctx, cancel := context.WithTimeout(t.Context(), k.lambda)
			defer cancel()
			started, ran := time.Now(), 0
			_, err := send(ctx, t, nil, func(context.Context, cfn.Event) (map[string]any, error) {
				if ran++; ran > k.denied {
					return nil, nil
				}
				return nil, k.err
			})
			if r, took := m.reply(t), time.Since(started); err != nil || r.Status != k.want || ran != k.ran || took != k.took {
				t.Errorf("%s: %d runs in %v, %+v, %v", name, ran, took, r, err)
			}
		})
	}
}

func TestAnAnswerIsTriedAgain(t *testing.T) {
	for name, k := range map[string]struct {
		statuses []int
		tries    int
		says     string
	}{
		"twice":                     {[]int{0, 503}, 3, ""},
		"while it is too fast":      {[]int{429, 408}, 3, ""},
		"and given up in the end":   {[]int{500, 500, 0, 500, 500, 500}, 5, "answered with status 500"},
		"but not when it is denied": {[]int{403}, 1, "answered with status 403"},
		"nor when it is elsewhere":  {[]int{307}, 1, "answered with status 307"},
	} {
		synctest.Test(t, func(t *testing.T) {
			m := (&mailbox{statuses: k.statuses}).open(t)
			log, err := send(t.Context(), t, nil, makes(nil, nil))
			if len(m.tries) != k.tries || (err == nil) != (k.says == "") || err != nil && !strings.Contains(err.Error(), k.says) {
				t.Errorf("%s: %d tries, %v", name, len(m.tries), err)
			}
			for i := 2; i < len(m.tries); i++ {
				if before, now := m.tries[i-1].Sub(m.tries[i-2]), m.tries[i].Sub(m.tries[i-1]); now < 2*before || before == 0 {
					t.Errorf("%s: a pause of %v after one of %v", name, now, before)
				}
			}
			if (err == nil) != (m.body != nil) || err != nil && !strings.Contains(log, `"level":"ERROR"`) {
				t.Errorf("%s: %v; received %q, logged %s", name, err, m.body, log)
			}
		})
	}
}

// No try goes on after Lambda would have ended the function.
func TestTryingEndsWithTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := (&mailbox{statuses: []int{500, 500, 500, 500}}).open(t)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := send(ctx, t, nil, makes(nil, nil)); !errors.Is(err, context.DeadlineExceeded) || len(m.tries) != 2 {
			t.Errorf("%d tries, %v", len(m.tries), err)
		}
	})
}

func TestAnAnswerFitsWhateverIsInIt(t *testing.T) {
	const hint = "do this next"
	for name, text := range map[string]string{
		"long": strings.Repeat("a", 10000), "long, of three bytes": strings.Repeat("語", 5000), "long, of four": "a" + strings.Repeat("🔑", 5000),
		"long, escaped": strings.Repeat("\x01", 5000), "long, quoted": strings.Repeat(`"\`, 5000), "no UTF-8": strings.Repeat("\xffa", 5000),
	} {
		m := new(mailbox).open(t)
		_, err := send(t.Context(), t, nil, makes(nil, fault.New(fault.Conflict, text, hint)))
		r := m.reply(t)
		if err != nil || len(m.body) > 4096 || len(m.body) < 4080 || !utf8.Valid(m.body) || !strings.HasSuffix(r.Reason, "…; "+hint) {
			t.Errorf("%s: %d bytes, ends with %q, %v", name, len(m.body), r.Reason[max(0, len(r.Reason)-30):], err)
		}
		if cutting, _, _ := strings.Cut(r.Reason, "…"); !strings.HasPrefix(strings.ToValidUTF8(text, "\uFFFD"), cutting) {
			t.Errorf("%s: it isn't the beginning of what was said", name)
		}
	}
	m := new(mailbox).open(t)
	_, err := send(t.Context(), t, nil, makes(nil, fault.New(fault.Conflict, "short", strings.Repeat("h", 9000))))
	if r := m.reply(t); err != nil || len(m.body) > 4096 || r.Status != "FAILED" {
		t.Errorf("a long hint: %d bytes, %v", len(m.body), err)
	}
	_, err = send(t.Context(), t, nil, makes(map[string]any{"Big": strings.Repeat("x", 4096)}, nil))
	if r := m.reply(t); err != nil || len(m.body) > 4096 || r.Status != "FAILED" || r.PhysicalResourceID == "" || !strings.Contains(r.Reason, "more than CloudFormation takes") {
		t.Errorf("too much data: %+v, %v", r, err)
	}
}

// TestSec_S83_APresignedURLIsNotWritten: whoever reads a log, or an error that Lambda keeps, could answer for the function.
func TestSec_S83_APresignedURLIsNotWritten(t *testing.T) {
	for name, to := range map[string]string{"refused": place, "no URL at all": "http://response.test/\x7f?X-Amz-Signature=SECRET"} {
		synctest.Test(t, func(t *testing.T) {
			(&mailbox{statuses: []int{0, 0, 0, 0, 0}}).open(t)
			log, err := send(t.Context(), t, map[string]any{"ResponseURL": to}, makes(nil, errors.New("no")))
			if err == nil || strings.Contains(err.Error(), "SECRET") || strings.Contains(log, "SECRET") || !strings.Contains(log, "CloudFormation not answered") {
				t.Errorf("%s: %v, logged %s", name, err, log)
			}
		})
	}
}
