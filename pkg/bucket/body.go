package bucket

import (
	"context"
	"encoding/hex"
	"fmt"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/names"
)

// MaxBody is how many bytes may be kept of what an event has no room for. Nothing that the API takes is larger.
const MaxBody = 1 << 20

// Bodies keeps texts that events have no room for, each under its SHA-256, for as long as the bucket has them. It is safe for
// concurrent use.
type Bodies struct{ bucket *Bucket }

// NewBodies makes one of the lake's bucket.
func NewBodies(b *Bucket) Bodies { return Bodies{b} }

// Keep keeps a text. When it returns nil, the bucket has it and nothing else under its name: that something is there already
// says nothing of what it is.
func (b Bodies) Keep(ctx context.Context, text string) error {
	if len(text) > MaxBody {
		return fault.Newf(fault.TooLarge, "make the request smaller", "what its event has no room for has %d bytes, and at most %d can be kept", len(text), MaxBody)
	}
	sum := audit.Sum(text)
	key := names.LakeBodies + sum
	put := b.bucket.Keep(ctx, key, []byte(text))
	there, found, err := b.bucket.Head(ctx, key)
	switch {
	case err == nil && found && hex.EncodeToString(there.SHA256) == sum && there.Size == int64(len(text)):
		return nil // also when somebody else has put it meanwhile, or the answer was lost
	case err == nil && found:
		return fault.Newf(fault.Internal, "tell your administrator: see docs/audit.md, what an event has no room for", "something else is kept under the SHA-256 %s of this text", sum)
	case put != nil:
		err = put
	case err == nil:
		err = fmt.Errorf("%s isn't there after it was put", key)
	}
	return fault.New(fault.Unavailable, "what this request's event has no room for could not be kept, so that nothing was done", "try again").Because(err)
}

// Read returns the text with a SHA-256, and fails with [fault.NotFound] when none is kept.
func (b Bodies) Read(ctx context.Context, sum string) (string, error) {
	if err := audit.ReadSum(sum); err != nil {
		return "", err
	}
	key := names.LakeBodies + sum
	content, err := b.bucket.Get(ctx, key, MaxBody)
	if missing(err) {
		return "", fault.Newf(fault.NotFound, "see docs/audit.md, what an event has no room for: some texts are only named by it", "nothing is kept under the SHA-256 %s", sum)
	}
	if err != nil {
		return "", err
	}
	if audit.Sum(string(content)) != sum {
		return "", fault.Newf(fault.Internal, "tell your administrator: somebody has replaced it", "what is kept under the SHA-256 %s is not what had it", sum)
	}
	return string(content), nil
}
