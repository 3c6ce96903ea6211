package holding

import (
	"context"
	"errors"
	"fmt"

	"github.com/stile-dev/stile/pkg/fault"
)

// Lake invokes the function that asks Athena.
type Lake func(context.Context, Call) (Answer, error)

// Ask begins a question, or looks at one.
func (l Lake) Ask(ctx context.Context, q Request) (Answer, error) {
	a, err := l(ctx, Call{Holding: q})
	if err == nil && a.ID == "" {
		err = errors.New("the answer names no question")
	}
	if f, ok := errors.AsType[*fault.Fault](err); ok && f.Hint != "" {
		err = fmt.Errorf("%w: %s", err, f.Hint)
	}
	if err != nil {
		return Answer{}, fmt.Errorf("asking the lake: %w", err)
	}
	return a, nil
}
