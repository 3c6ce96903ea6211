package proof

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"

	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/strict"
	"github.com/stile-dev/stile/pkg/wire"
)

// ChallengeLife is how long a challenge is valid.
const ChallengeLife = time.Minute

// ahead is how far another instance's clock may be ahead of ours.
const ahead = 5 * time.Second

const maxChallenge = 1024

// Challenge is what a front hands out, under a MAC; none of it is stored.
type Challenge struct {
	V        int       `json:"v"` // 1
	Purpose  string    `json:"purpose"`
	Cluster  string    `json:"cluster"`
	Keys     string    `json:"keys"` // certs.KeysHash of the keys that it is for
	IssuedAt time.Time `json:"issued_at"`
	Nonce    string    `json:"nonce"` // 32 random bytes, base64url
}

var keysShape = regexp.MustCompile(`^[A-Za-z0-9_-]{43}$`)

// NewChallenge makes a challenge for keys given by their hash.
func NewChallenge(purpose, cluster, keys string, now time.Time, entropy io.Reader) (Challenge, error) {
	if !keysShape.MatchString(keys) {
		return Challenge{}, fault.New(fault.BadInput, "keys is not a hash of two public keys", "send base64url (no padding) of SHA-256 over both keys").
			With("keys", "43 characters of base64url are expected")
	}
	var nonce [32]byte
	if _, err := io.ReadFull(entropy, nonce[:]); err != nil {
		return Challenge{}, fmt.Errorf("drawing a nonce: %w", err)
	}
	return Challenge{
		V: 1, Purpose: purpose, Cluster: cluster, Keys: keys, IssuedAt: now.UTC().Truncate(time.Millisecond),
		Nonce: base64.RawURLEncoding.EncodeToString(nonce[:]),
	}, nil
}

// Expires returns when the challenge expires.
func (c Challenge) Expires() time.Time { return c.IssuedAt.Add(ChallengeLife) }

// Text returns the challenge's part before the MAC.
func (c Challenge) Text() (string, error) {
	b, err := json.Marshal(c)
	if err != nil {
		return "", fmt.Errorf("writing a challenge: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(b), nil
}

// Authenticated returns the bytes that the MAC is over.
func Authenticated(text string) []byte { return []byte("stile-challenge-v1\n" + text) }

// Join puts text and MAC together into what the caller gets.
func Join(text string, mac []byte) string {
	return text + "." + base64.RawURLEncoding.EncodeToString(mac)
}

// Seal puts the challenge under a MAC, which generate makes over a message: what the caller gets.
func (c Challenge) Seal(generate func(message []byte) ([]byte, error)) (wire.Challenge, error) {
	text, err := c.Text()
	if err != nil {
		return wire.Challenge{}, err
	}
	mac, err := generate(Authenticated(text))
	if err != nil {
		return wire.Challenge{}, err
	}
	return wire.Challenge{Challenge: Join(text, mac), Cluster: c.Cluster, ExpiresAt: c.Expires()}, nil
}

// Opened is a challenge that came back. None of it may be believed before the MAC over Message is verified.
type Opened struct {
	Challenge Challenge
	Message   []byte
	MAC       []byte
}

// Open takes a challenge apart.
func Open(s string) (Opened, error) {
	text, code, ok := strings.Cut(s, ".")
	if !ok || len(s) > maxChallenge {
		return Opened{}, spoilt()
	}
	enc := base64.RawURLEncoding.Strict()
	body, err := enc.DecodeString(text)
	if err != nil {
		return Opened{}, spoilt()
	}
	mac, err := enc.DecodeString(code)
	if err != nil || len(mac) != 32 {
		return Opened{}, spoilt()
	}
	o := Opened{Message: Authenticated(text), MAC: mac}
	if err := strict.JSON(body, maxChallenge, &o.Challenge); err != nil || o.Challenge.V != 1 {
		return Opened{}, spoilt()
	}
	return o, nil
}

// judge compares the challenge with what it is used for.
func (c Challenge) judge(purpose, cluster, keys string, now time.Time) error {
	const again = "start again: ask for a new challenge"
	switch {
	case c.Purpose != purpose:
		return fault.Newf(fault.Denied, again, "the challenge is for %.20s, not for %s", c.Purpose, purpose)
	case c.Cluster != cluster:
		return fault.New(fault.Denied, "the challenge is another cluster's", "check the API's URL")
	case c.Keys != keys:
		return fault.New(fault.Denied, "the challenge is for keys other than the ones sent", again)
	case now.After(c.Expires()):
		return fault.New(fault.Expired, "the challenge has expired", again)
	case c.IssuedAt.After(now.Add(ahead)):
		return fault.New(fault.Unauthenticated, "the challenge was issued in the future, by this clock", again)
	}
	return nil
}

func spoilt() *fault.Fault {
	return fault.New(fault.BadInput, "this is not a challenge of this API", "send the challenge exactly as the API gave it").With("challenge", "malformed")
}
