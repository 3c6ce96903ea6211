package proof

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/stile-dev/stile/pkg/certs"
	"github.com/stile-dev/stile/pkg/fault"
)

// Claim is all that evidence says about itself.
type Claim struct {
	Challenge      string
	SSHKey, TLSKey []byte // SubjectPublicKeyInfo, DER
}

// Terms are what the claim must be for.
type Terms struct {
	Purpose string // names.PurposeLogin or names.PurposeJoin
	Cluster string
	Now     time.Time
}

// Checked is a claim in order. Neither its challenge's MAC nor what is shown beside it has been verified yet.
type Checked struct {
	Opened
	SSH, TLS *ecdsa.PublicKey
	Keys     string // certs.KeysHash of both
}

// Check does everything that costs no call, cheapest first: shapes, keys, binding, age.
func Check(c Claim, t Terms) (Checked, error) {
	opened, err := Open(c.Challenge)
	if err != nil {
		return Checked{}, err
	}
	ck := Checked{Opened: opened, Keys: certs.KeysHash(c.SSHKey, c.TLSKey)}
	if err := opened.Challenge.judge(t.Purpose, t.Cluster, ck.Keys, t.Now); err != nil {
		return Checked{}, err
	}
	if ck.SSH, err = key("ssh_key", c.SSHKey); err != nil {
		return Checked{}, err
	}
	if ck.TLS, err = key("tls_key", c.TLSKey); err != nil {
		return Checked{}, err
	}
	if ck.SSH.Equal(ck.TLS) {
		return Checked{}, fault.New(fault.BadInput, "ssh_key and tls_key are the same key", "make two keys").With("tls_key", "same as ssh_key")
	}
	return ck, nil
}

func key(field string, spki []byte) (*ecdsa.PublicKey, error) {
	pub, err := certs.ParseKey(spki)
	if err != nil {
		return nil, fault.Newf(fault.BadInput, "send a P-256 key as SubjectPublicKeyInfo in DER", "%s is not acceptable", field).
			With(field, "not a P-256 public key").Because(fmt.Errorf("parsing %s: %w", field, err))
	}
	return pub, nil
}

// Binding is what evidence beside the claim must be bound to.
func (c Checked) Binding(challenge string, t Terms) Binding {
	return Binding{Challenge: challenge, Purpose: t.Purpose, Cluster: t.Cluster, Keys: c.Keys}
}

// UsedKey names the single use of a challenge in a table: hex SHA-256 of its authenticated text, so that no
// other spelling of the same challenge is another use.
func (c Checked) UsedKey() string {
	sum := sha256.Sum256(c.Message)
	return hex.EncodeToString(sum[:])
}
