package audit

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
)

// Signed is an event with the JSON that its agent signed, which is kept as it came: a proxy passes it on, and whoever
// reads it later asks the signature, not the proxy, whose word it is.
type Signed struct {
	Event     Event
	Body      []byte
	Signature []byte // ECDSA P-256, ASN.1 DER, by the TLS key of the agent's certificate; empty when the agent didn't sign
}

// Delivery is what an agent hands over at once. Each event is signed by itself, so that one that is lost takes no
// proof of others with it; their numbers show which are missing.
type Delivery struct {
	Certificate []byte // DER, of the key that signed; empty when nothing is signed
	Events      []Signed
}

// Sign signs the JSON of an event by an agent's key.
func Sign(entropy io.Reader, key crypto.Signer, agent string, body []byte) ([]byte, error) {
	e, err := Parse(body)
	if err != nil {
		return nil, err
	}
	digest := e.digest(agent, body)
	signature, err := key.Sign(entropy, digest[:], crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("signing an audit event: %w", err)
	}
	return signature, nil
}

// Verify reports whether an agent's key signed the event.
func (s Signed) Verify(key *ecdsa.PublicKey, agent string) bool {
	e, err := Parse(s.Body)
	if err != nil {
		return false
	}
	digest := e.digest(agent, s.Body)
	return ecdsa.VerifyASN1(key, digest[:], s.Signature)
}

// digest is what is signed: the agent, the event's number in which epoch, and the hash of its bytes, behind a prefix
// that nothing else which this key signs begins with.
func (e Event) digest(agent string, body []byte) [sha256.Size]byte {
	hash := sha256.Sum256(body)
	return sha256.Sum256(fmt.Appendf(nil, "stile-events-v1\n%s\n%s\n%d\n%x\n", agent, e.SourceEpoch, e.Seq, hash))
}

// Parse reads the JSON of an event, of which it says nothing else.
func Parse(body []byte) (Event, error) {
	var e Event
	if err := json.Unmarshal(body, &e); err != nil {
		return Event{}, fmt.Errorf("reading an audit event: %w", err)
	}
	return e, nil
}
