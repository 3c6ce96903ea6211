package stock

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/wire"
)

// Lasts is how long a URL is good for. It can end sooner, with the function's own credentials.
const Lasts = time.Hour

// Shelf hands out URLs.
type Shelf struct {
	s3     *s3.PresignClient
	bucket string
	keys   []string
}

// NewShelf makes a shelf of the programs at some keys, as [Keeper] returns them.
func NewShelf(store *s3.Client, bucket string, keys ...string) *Shelf {
	return &Shelf{s3.NewPresignClient(store), bucket, keys}
}

var keyForm = regexp.MustCompile(`^` + Prefix + `([0-9a-f]{64})/stile-agent-linux-([a-z0-9]+)$`)

// Binaries returns a URL and the digest of the agent for each architecture, sorted by it.
func (s *Shelf) Binaries(ctx context.Context, now time.Time) (wire.AgentBinaries, error) {
	var all wire.AgentBinaries
	for _, key := range s.keys {
		form := keyForm.FindStringSubmatch(key)
		if form == nil {
			return wire.AgentBinaries{}, fault.Newf(fault.Internal, "ask an administrator to deploy again", "%q is not the key of an agent's program", key)
		}
		signed, err := s.s3.PresignGetObject(ctx, &s3.GetObjectInput{Bucket: &s.bucket, Key: &key}, s3.WithPresignExpires(Lasts))
		if err != nil {
			return wire.AgentBinaries{}, fmt.Errorf("signing the URL of an agent's program: %w", err)
		}
		all.Items = append(all.Items, wire.AgentBinary{Arch: form[2], Sha256: form[1], URL: signed.URL, ExpiresAt: now.UTC().Add(Lasts).Truncate(time.Second)})
	}
	slices.SortFunc(all.Items, func(a, b wire.AgentBinary) int { return strings.Compare(a.Arch, b.Arch) })
	return all, nil
}
