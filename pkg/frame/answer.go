package frame

import (
	"fmt"
	"io"
	"time"

	"github.com/stile-dev/stile/pkg/fault"
)

// The first byte of an answer to a connect request.
const (
	answerOpen    = 0 // the target's bytes follow
	answerRefused = 1 // a Fault frame follows, then the end
)

// FromFault turns a fault into its wire form, without its cause.
func FromFault(f *fault.Fault) *Fault {
	return &Fault{
		Code: string(f.Code), Message: clip(f.Message), Hint: clip(f.Hint),
		DecisionId: f.DecisionID, RetryAfter: uint32(f.RetryAfter / time.Second),
	}
}

// clip keeps a refusal far below the limit of a frame, however long its sentences are.
func clip(s string) string {
	const most = 4 << 10
	if len(s) > most {
		return s[:most]
	}
	return s
}

// Err turns the wire form into a fault. A code that this side doesn't know becomes Internal.
func (f *Fault) Err() *fault.Fault {
	code := fault.Code(f.GetCode())
	if !code.Known() {
		code = fault.Internal
	}
	out := fault.New(code, f.GetMessage(), f.GetHint())
	out.DecisionID = f.GetDecisionId()
	out.RetryAfter = time.Duration(f.GetRetryAfter()) * time.Second
	return out
}

// WriteOpen answers that the target's bytes follow.
func WriteOpen(w io.Writer) error {
	if _, err := w.Write([]byte{answerOpen}); err != nil {
		return fmt.Errorf("answering: %w", err)
	}
	return nil
}

// WriteRefusal answers with the fault in err's chain; an error without one is shown as Internal.
func WriteRefusal(w io.Writer, err error) error {
	b, encodeErr := Append([]byte{answerRefused}, FromFault(fault.From(err)))
	if encodeErr != nil {
		return encodeErr
	}
	if _, err := w.Write(b); err != nil {
		return fmt.Errorf("refusing: %w", err)
	}
	return nil
}

// ReadAnswer reads the answer to a connect request. It returns nil when the target's bytes follow, a
// *fault.Fault when the request was refused, and another error when the connection broke.
func ReadAnswer(r io.Reader) error {
	var b [1]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return fmt.Errorf("reading answer: %w", err)
	}
	switch b[0] {
	case answerOpen:
		return nil
	case answerRefused:
		var f Fault
		if err := Read(r, &f); err != nil {
			return fmt.Errorf("reading refusal: %w", err)
		}
		return f.Err()
	default:
		return fmt.Errorf("%w: answer begins with %d", ErrMalformed, b[0])
	}
}
