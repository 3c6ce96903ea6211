package output

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/stile-dev/stile/pkg/escape"
	"github.com/stile-dev/stile/pkg/fault"
)

// Fault prints err as people see errors: what is wrong, where, and what to do next. What holds no fault is
// shown with its text, since in this process there is nobody to hide it from.
func Fault(w io.Writer, err error) {
	f := fault.From(err)
	message := f.Message
	if f.Code == fault.Internal {
		message = err.Error()
		if cause := f.Unwrap(); cause != nil && message == f.Message {
			message = cause.Error()
		}
	}
	if len(f.Fields) == 0 || !says(message, text(f.Fields[0])) {
		line(w, "error", message)
	}
	for _, field := range f.Fields {
		line(w, "error", text(field))
	}
	if f.DecisionID != "" {
		line(w, "decision", f.DecisionID)
	}
	if f.Hint != "" {
		line(w, "hint", f.Hint)
	}
	if f.RetryAfter > 0 && f.Code.Passes() {
		line(w, "hint", fmt.Sprintf("try again in %s", f.RetryAfter.Round(time.Second)))
	}
}

func text(f fault.Field) string { return strings.TrimPrefix(f.Path+": "+f.Reason, ": ") }

// says reports whether the message is the field's text, or that with how many more there are.
func says(message, field string) bool {
	rest, ok := strings.CutPrefix(message, field)
	return ok && (rest == "" || strings.HasPrefix(rest, " (and "))
}

func line(w io.Writer, kind, text string) {
	_, _ = fmt.Fprintf(w, "stile: %s: %s\n", kind, escape.Text(text))
}
