package identity

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"
)

// SessionSecret is how many bytes the secret of a session's id has.
const SessionSecret = 16

// NewSession makes a session's id, ses_<ulid in lower case>, whose random part is the hash of a secret: who shows the secret
// made the id. It panics when entropy runs out, which crypto/rand.Reader never does.
func NewSession(entropy io.Reader, now time.Time) (id string, secret []byte) {
	secret = make([]byte, SessionSecret)
	if _, err := io.ReadFull(entropy, secret); err != nil {
		panic(fmt.Sprintf("identity: making a session's id: %v", err))
	}
	return NewID("ses", bytes.NewReader(commitment(secret)), now), secret
}

// FirstSession is the lowest id that a session of a time can have. It panics for a time before 1970.
func FirstSession(t time.Time) string { return NewID("ses", bytes.NewReader(make([]byte, 10)), t) }

// MadeSession reports whether a session's id was made from a secret.
func MadeSession(id string, secret []byte) bool {
	u, err := sessionULID(id)
	return err == nil && len(secret) == SessionSecret && bytes.Equal(u.Entropy(), commitment(secret))
}

// SessionTime is when a session's id was made, in whole milliseconds, UTC.
func SessionTime(id string) (time.Time, error) {
	u, err := sessionULID(id)
	if err != nil {
		return time.Time{}, err
	}
	return ulid.Time(u.Time()).UTC(), nil
}

func sessionULID(id string) (ulid.ULID, error) {
	if !ValidID("ses", id) {
		return ulid.ULID{}, fmt.Errorf("reading a session's id: %.64q is not one", id)
	}
	u, err := ulid.ParseStrict(strings.ToUpper(strings.TrimPrefix(id, "ses_")))
	if err != nil {
		return ulid.ULID{}, fmt.Errorf("reading a session's id: %w", err)
	}
	return u, nil
}

// commitment is the random part of the id: 80 bits of a hash.
func commitment(secret []byte) []byte {
	sum := sha256.Sum256(append([]byte("stile-session-v1\n"), secret...))
	return sum[:10]
}
