// Package certs makes certificates from identities and reads identities from certificates: SSH
// certificates for people and nodes, X.509 certificates for people, agents and proxies.
//
// A certificate comes about in three steps: a template is filled from an identity, its finished bytes are
// linted with a throw-away key, and only then does the certificate authority sign. Who may have one is
// decided elsewhere; this package reads no clock and knows no network.
// Its entry points are [UserTemplate], [HostTemplate] and the Verify functions.
package certs

import (
	"crypto/ecdsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"math/big"
	"net/url"
	"slices"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/names"
)

// Backdate is how long before its issue a certificate's validity begins, for clocks that are behind. The
// end does not move.
const Backdate = 30 * time.Second

// The longest lifetimes of certificates, from issue to expiry.
const (
	MaxUserLife = 12 * time.Hour
	MaxHostLife = 24 * time.Hour
)

// UserRequest is what a user's pair of certificates is made from.
type UserRequest struct {
	Identity identity.User
	SSHKey   *ecdsa.PublicKey // P-256
	TLSKey   *ecdsa.PublicKey // P-256, another key
	Logins   []string         // principals; at least one
	From     time.Time        // of issue
	Until    time.Time        // of expiry; exclusive, in whole seconds
	Entropy  io.Reader        // 24 bytes for serial numbers
}

// HostRequest is what an agent's or a proxy's certificates are made from.
type HostRequest struct {
	Identity identity.Host
	SSHKey   *ecdsa.PublicKey // P-256; nil for a proxy, which has no SSH certificate
	TLSKey   *ecdsa.PublicKey // P-256, another key
	From     time.Time
	Until    time.Time
	Entropy  io.Reader
}

// Template is a pair of certificates that nobody has signed yet.
type Template struct {
	SSH    *ssh.Certificate  // nil for a proxy
	X509   *x509.Certificate //
	TLSKey *ecdsa.PublicKey  // the key that X509 is for
}

// UserTemplate fills the pair for a user. It doesn't judge: [Template.Lint] does.
func UserTemplate(r UserRequest) (Template, error) {
	claims, err := r.Identity.Marshal()
	if err != nil {
		return Template{}, fmt.Errorf("filling a user's certificates: %w", err)
	}
	t, err := fill(filling{
		claims: claims, uri: r.Identity.URI(), subject: r.Identity.Name, id: r.Identity.Certificate,
		sshKey: r.SSHKey, tlsKey: r.TLSKey, from: r.From, until: r.Until, entropy: r.Entropy,
	})
	if err != nil {
		return Template{}, err
	}
	t.X509.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	if t.SSH == nil {
		return t, nil
	}
	t.SSH.CertType, t.SSH.ValidPrincipals = ssh.UserCert, r.Logins
	t.SSH.Extensions["permit-pty"] = ""
	if r.Identity.SourceAddress != "" {
		t.SSH.CriticalOptions = map[string]string{sourceAddress: r.Identity.SourceAddress}
	}
	return t, nil
}

// HostTemplate fills the pair for an agent, or the X.509 certificate alone for a proxy.
func HostTemplate(r HostRequest) (Template, error) {
	claims, err := r.Identity.Marshal()
	if err != nil {
		return Template{}, fmt.Errorf("filling a host's certificates: %w", err)
	}
	t, err := fill(filling{
		claims: claims, uri: r.Identity.URI(), subject: r.Identity.ID, id: r.Identity.Certificate,
		sshKey: r.SSHKey, tlsKey: r.TLSKey, from: r.From, until: r.Until, entropy: r.Entropy,
	})
	if err != nil {
		return Template{}, err
	}
	t.X509.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	if t.SSH != nil {
		t.SSH.CertType = ssh.HostCert
		t.SSH.ValidPrincipals = r.Identity.Principals()
	}
	return t, nil
}

type filling struct {
	claims           []byte
	uri, subject, id string
	sshKey, tlsKey   *ecdsa.PublicKey
	from, until      time.Time
	entropy          io.Reader
}

// fill sets what users' and hosts' certificates have in common.
func fill(f filling) (Template, error) {
	var random [24]byte
	if _, err := io.ReadFull(f.entropy, random[:]); err != nil {
		return Template{}, fmt.Errorf("drawing serial numbers: %w", err)
	}
	uri, err := url.Parse(f.uri)
	if err != nil {
		return Template{}, fmt.Errorf("naming the certificate's subject: %w", err)
	}
	extension, err := asn1.Marshal(f.claims)
	if err != nil {
		return Template{}, fmt.Errorf("writing the identity extension: %w", err)
	}
	from, until := f.from.Add(-Backdate).Truncate(time.Second), f.until.Truncate(time.Second)
	t := Template{TLSKey: f.tlsKey, X509: &x509.Certificate{
		SerialNumber:          new(big.Int).SetBytes(random[:16]),
		Subject:               pkix.Name{CommonName: f.subject},
		NotBefore:             from.UTC(),
		NotAfter:              until.UTC(),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
		URIs:                  []*url.URL{uri},
		ExtraExtensions:       []pkix.Extension{{Id: identity.OID, Value: extension}},
		SignatureAlgorithm:    x509.ECDSAWithSHA256,
	}}
	if f.sshKey == nil {
		return t, nil
	}
	key, err := ssh.NewPublicKey(f.sshKey)
	if err != nil {
		return Template{}, fmt.Errorf("reading the SSH key: %w", err)
	}
	t.SSH = &ssh.Certificate{
		Key:         key,
		Serial:      binary.BigEndian.Uint64(random[16:]),
		KeyId:       f.id,
		ValidAfter:  seconds(from),
		ValidBefore: seconds(until),
		Permissions: ssh.Permissions{Extensions: map[string]string{names.SSHIdentity: string(f.claims)}},
	}
	return t, nil
}

// seconds returns seconds since 1970; 0 for an earlier time, which no lint lets through.
func seconds(t time.Time) uint64 { return uint64(max(0, t.Unix())) }

// clone copies everything that the template points to and that could change.
func (t Template) clone() Template {
	key := *t.TLSKey
	t.TLSKey = &key
	x := *t.X509
	x.SerialNumber = new(big.Int).Set(x.SerialNumber)
	x.ExtKeyUsage, x.UnknownExtKeyUsage = slices.Clone(x.ExtKeyUsage), slices.Clone(x.UnknownExtKeyUsage)
	x.DNSNames, x.EmailAddresses, x.IPAddresses = slices.Clone(x.DNSNames), slices.Clone(x.EmailAddresses), slices.Clone(x.IPAddresses)
	x.URIs = slices.Clone(x.URIs)
	for i, u := range x.URIs {
		own := *u
		x.URIs[i] = &own
	}
	x.ExtraExtensions = slices.Clone(x.ExtraExtensions)
	for i := range x.ExtraExtensions {
		x.ExtraExtensions[i].Value = slices.Clone(x.ExtraExtensions[i].Value)
	}
	t.X509 = &x
	if t.SSH != nil {
		c := *t.SSH
		c.ValidPrincipals = slices.Clone(c.ValidPrincipals)
		c.CriticalOptions, c.Extensions = maps.Clone(c.CriticalOptions), maps.Clone(c.Extensions)
		t.SSH = &c
	}
	return t
}
