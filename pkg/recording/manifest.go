package recording

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/stile-dev/stile/pkg/identity"
)

// Manifest says what a recording consists of. Each chunk says what the one before hashes to, so the last one's hash stands
// for them all.
type Manifest struct {
	V          int       `json:"v"` // 1
	Session    string    `json:"session"`
	Cluster    string    `json:"cluster"`
	Agent      string    `json:"agent"`
	Target     string    `json:"target"`
	User       string    `json:"user"`
	Login      string    `json:"login"`
	Started    time.Time `json:"started"`
	Ended      time.Time `json:"ended"`
	Chunks     int       `json:"chunks"`               // how many there are, the missing included
	Last       string    `json:"last"`                 // hex SHA-256 of the last chunk; "" when there is none
	Bytes      int64     `json:"bytes"`                // of recorded output, as it was and not as lines
	Missing    []Missing `json:"missing,omitempty"`    // chunks that were damaged
	Torn       bool      `json:"torn,omitempty"`       // the agent ended in mid-session: what it had not yet written may be missing
	Unrecorded *Digest   `json:"unrecorded,omitempty"` // output at the end that was shown and is in no chunk
	Input      *Digest   `json:"input,omitempty"`      // what came in, when there was no terminal
}

// Missing is a run of chunks that are not there.
type Missing struct {
	First int    `json:"first"`
	Last  int    `json:"last"` // included
	Why   string `json:"why"`
}

// Digest says of bytes only how many they were and what they hash to.
type Digest struct {
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"` // hex
	Why    string `json:"why,omitempty"`
}

// Signed is a manifest as it came. Whether the certificate was one of an agent's is the reader's to ask.
type Signed struct {
	Manifest    Manifest
	Body        []byte // the JSON that was signed
	Certificate []byte // DER
	Signature   []byte // ECDSA P-256, ASN.1 DER
}

// envelope is the form of manifest.json.
type envelope struct {
	Manifest    json.RawMessage `json:"manifest"`
	Certificate []byte          `json:"certificate"`
	Signature   []byte          `json:"signature"`
}

// digest is what is signed, behind a prefix that nothing else which a host's key signs begins with.
func digest(body []byte) []byte {
	sum := sha256.Sum256(body)
	sum = sha256.Sum256(append([]byte("stile-manifest-v1\n"), sum[:]...))
	return sum[:]
}

// Sign returns the bytes of manifest.json: the manifest with its signature by an agent's TLS key, and the key's certificate, DER.
func (m Manifest) Sign(entropy io.Reader, key crypto.Signer, certificate []byte) ([]byte, error) {
	if err := m.check(); err != nil {
		return nil, fmt.Errorf("signing a manifest: %w", err)
	}
	body := marshal(m)
	signature, err := key.Sign(entropy, digest(body), crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("signing a manifest: %w", err)
	}
	out := marshal(envelope{body, certificate, signature})
	if len(out) > MaxManifest {
		return nil, fmt.Errorf("signing a manifest: %d bytes are more than %d", len(out), MaxManifest)
	}
	return out, nil
}

// OpenManifest reads the bytes of manifest.json and refuses what can't be one. It asks nothing about the signature.
func OpenManifest(b []byte) (Signed, error) {
	if len(b) > MaxManifest {
		return Signed{}, fmt.Errorf("reading a manifest: %d bytes are more than one has", len(b))
	}
	var e envelope
	if err := json.Unmarshal(b, &e); err != nil {
		return Signed{}, fmt.Errorf("reading a manifest: %w", err)
	}
	s := Signed{Body: e.Manifest, Certificate: e.Certificate, Signature: e.Signature}
	err := json.Unmarshal(e.Manifest, &s.Manifest)
	if err == nil {
		err = s.Manifest.check()
	}
	if err != nil {
		return Signed{}, fmt.Errorf("reading a manifest: %w", err)
	}
	return s, nil
}

// Verify reports whether the certificate's key signed the manifest.
func (s Signed) Verify() bool {
	leaf, err := x509.ParseCertificate(s.Certificate)
	if err != nil {
		return false
	}
	key, ok := leaf.PublicKey.(*ecdsa.PublicKey)
	return ok && ecdsa.VerifyASN1(key, digest(s.Body), s.Signature)
}

// check refuses what contradicts itself.
func (m Manifest) check() error {
	next := 0
	for _, r := range m.Missing {
		if r.First < next || r.Last < r.First || r.Last >= m.Chunks {
			return fmt.Errorf("it misses chunks %d to %d of %d", r.First, r.Last, m.Chunks)
		}
		next = r.Last + 1
	}
	switch {
	case m.V != 1:
		return fmt.Errorf("it has the form %d, which this release doesn't know: update stile", m.V)
	case !identity.ValidID("ses", m.Session):
		return fmt.Errorf("it names no session but %.64q", m.Session)
	case m.Chunks < 0 || m.Chunks > MaxChunks:
		return fmt.Errorf("%d chunks are more than a recording has", m.Chunks)
	case (m.Chunks == 0) != (m.Last == "") || m.Last != "" && !hexHash.MatchString(m.Last):
		return errors.New("it doesn't say what the last chunk hashes to")
	case m.Bytes < 0 || m.Ended.Before(m.Started) || !writable(m.Started) || !writable(m.Ended):
		return errors.New("its bytes or its times are none")
	}
	return nil
}

// writable reports whether a time can be written as JSON in UTC: one that only can in another zone would spoil each answer that
// has it.
func writable(t time.Time) bool { return t.UTC().Year() >= 0 && t.UTC().Year() <= 9999 }
