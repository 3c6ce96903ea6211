package custom

import (
	"bytes"
	"encoding/json"
	"strings"
	"unicode/utf8"

	"github.com/aws/aws-lambda-go/cfn"

	"github.com/stile-dev/stile/pkg/fault"
)

// maxResponse is the size beyond which CloudFormation takes no answer, and waits on.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/crpg-ref-responses.html
const maxResponse = 4096

// quotes are the bytes that a reason adds to an answer beside its own.
const quotes = len(`"Reason":"",`)

// response is what CloudFormation reads.
type response struct {
	Status             cfn.StatusType
	Reason             string         `json:",omitempty"`
	PhysicalResourceID string         `json:"PhysicalResourceId"`
	StackID            string         `json:"StackId"`
	RequestID          string         `json:"RequestId"`
	LogicalResourceID  string         `json:"LogicalResourceId"`
	Data               map[string]any `json:",omitempty"`

	hint string // the end of the reason, which stays when the reason is cut
}

// reason is what went wrong and what to do. Whoever deploys may read the function's log, so an error that has no
// words for people is shown with its cause.
func reason(err error) (what, hint string) {
	f := fault.From(err)
	if f.Code == fault.Internal {
		what = f.Message
		if cause := f.Unwrap(); cause != nil {
			what += ": " + cause.Error()
		}
		return what, "read the function's log, then deploy again"
	}
	var b strings.Builder
	b.WriteString(f.Message)
	for _, field := range f.Fields {
		if said := field.Path + ": " + field.Reason; !strings.Contains(f.Message, said) {
			b.WriteString("; " + said)
		}
	}
	return b.String(), f.Hint
}

func (r *response) fail(what, hint string) {
	r.Status, r.Data, r.Reason, r.hint = cfn.StatusFailed, nil, what, hint
}

// encode writes an answer that CloudFormation takes: data that can't be written, or are too much, are a failure, and a
// reason that is too long is cut before its hint.
func encode(r response) []byte {
	if r.Status == cfn.StatusSuccess {
		raw, err := marshal(r)
		switch {
		case err != nil:
			r.fail("the function's data can't be written: "+err.Error(), "read the function's log, then deploy again")
		case len(raw) > maxResponse:
			r.fail("the function's data are more than CloudFormation takes", "deploy a revision whose function answers less")
		default:
			return raw
		}
	}
	what, hint := r.Reason, r.hint
	r.Reason = ""
	raw, _ := marshal(r) // strings alone
	room := maxResponse - len(raw) - quotes
	if hint != "" {
		hint = cut("; "+hint, room)
	}
	r.Reason = cut(what, room-written(hint)) + hint
	raw, _ = marshal(r)
	return raw
}

// marshal writes <, > and & as they are.
func marshal(r response) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(r)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// written is the number of bytes of a text as JSON, without quotes.
func written(text string) int {
	if text == "" {
		return 0
	}
	with, _ := marshal(response{Reason: text})
	without, _ := marshal(response{})
	return len(with) - len(without) - quotes
}

// cut shortens a text to what is at most so many bytes as JSON, between two characters, and shows that it did.
func cut(text string, room int) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	if written(text) <= room {
		return text
	}
	const dots = "…"
	if room < len(dots) {
		return ""
	}
	end, used := 0, len(dots)
	for i, c := range text {
		if used += written(string(c)); used > room {
			break
		}
		end = i + utf8.RuneLen(c)
	}
	return text[:end] + dots
}
