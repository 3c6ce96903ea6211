// Package mac authenticates login and join challenges by keys that last an hour, each derived from one that cannot leave
// AWS KMS: a function calls KMS once an hour, however many challenges it makes or judges
// (docs/decisions/0019-challenge-keys-are-derived.md).
//
// It decides nothing. Its entry point is [New].
package mac

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"time"

	awskms "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/kms"
)

const (
	// Period is how long a derived key serves.
	Period = time.Hour
	// near is how far from this machine's clock a challenge may have been made. It is more than any challenge lives, and so
	// little that no more than two keys can be asked for at a time: whoever writes a time of issue pays for no call by it.
	near = 5 * time.Minute
	// rest is how long a failure of KMS is answered without another call.
	rest = time.Second
)

// label begins what a key is derived from. No challenge begins like it, so a code of one is never a key of the other.
const label = "stile-challenge-key-v1"

// API is what we use of a *kms.Client.
type API interface {
	GenerateMac(context.Context, *awskms.GenerateMacInput, ...func(*awskms.Options)) (*awskms.GenerateMacOutput, error)
}

// Config names the key and what its codes are for.
type Config struct {
	KMS     API
	Key     string           // its ARN
	Purpose string           // names.PurposeLogin or names.PurposeJoin: their codes have nothing in common
	Now     func() time.Time // nil: time.Now
}

// Keys makes and verifies HMAC-SHA-256 by the keys of the hours around now. It may be used by several goroutines.
type Keys struct {
	config Config
	turn   chan struct{} // holds one element while nobody looks at what follows
	kept   map[time.Time][]byte
	failed error
	until  time.Time // when KMS is asked again after failed
}

// New makes keys; it calls nothing yet.
func New(c Config) *Keys {
	if c.Now == nil {
		c.Now = time.Now
	}
	k := &Keys{config: c, turn: make(chan struct{}, 1), kept: map[time.Time][]byte{}}
	k.turn <- struct{}{}
	return k
}

// Generate makes the code of a message of that time.
func (k *Keys) Generate(ctx context.Context, message []byte, issued time.Time) ([]byte, error) {
	key, err := k.of(ctx, issued)
	if err != nil {
		return nil, err
	}
	return code(key, message), nil
}

// Verify refuses a code that was not made over the message for this purpose at this time, with a fault.
func (k *Keys) Verify(ctx context.Context, message, mac []byte, issued time.Time) error {
	key, err := k.of(ctx, issued)
	if err != nil {
		return err
	}
	if !hmac.Equal(mac, code(key, message)) {
		return fault.New(fault.Unauthenticated, "the challenge was not made by this cluster", "start again: ask for a new challenge")
	}
	return nil
}

func code(key, message []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write(message)
	return h.Sum(nil)
}

// of returns the key of a time, and asks KMS at most once for it, whoever else is waiting for it.
func (k *Keys) of(ctx context.Context, issued time.Time) ([]byte, error) {
	now := k.config.Now()
	if issued.Sub(now).Abs() > near {
		return nil, fault.New(fault.Expired, "the challenge was made at another time, by this clock", "start again: ask for a new challenge")
	}
	select {
	case <-k.turn:
		defer func() { k.turn <- struct{}{} }()
	case <-ctx.Done():
		return nil, kms.Refused("challenge", "derive a key", ctx.Err())
	}
	period := issued.UTC().Truncate(Period)
	if key, ok := k.kept[period]; ok {
		return key, nil
	}
	if now.Before(k.until) {
		return nil, k.failed
	}
	key, err := k.derive(ctx, period)
	if err != nil {
		if ctx.Err() == nil {
			k.failed, k.until = err, now.Add(rest)
		}
		return nil, err
	}
	for old := range k.kept {
		if old.Sub(period).Abs() > Period {
			delete(k.kept, old)
		}
	}
	k.kept[period] = key
	return key, nil
}

// derive uses the key in KMS as the pseudorandom function that HMAC is.
func (k *Keys) derive(ctx context.Context, period time.Time) ([]byte, error) {
	out, err := k.config.KMS.GenerateMac(ctx, &awskms.GenerateMacInput{
		KeyId: &k.config.Key, MacAlgorithm: types.MacAlgorithmSpecHmacSha256,
		Message: []byte(label + "\n" + k.config.Purpose + "\n" + period.Format(time.RFC3339)),
	})
	if err != nil {
		return nil, kms.Refused("challenge", "derive a key", err)
	}
	if len(out.Mac) != sha256.Size {
		return nil, fault.Newf(fault.Internal, "ask an administrator to check the key's spec, which must be HMAC_256",
			"the challenge key derived %d bytes instead of %d", len(out.Mac), sha256.Size)
	}
	return out.Mac, nil
}
