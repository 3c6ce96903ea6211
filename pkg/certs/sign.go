package certs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"golang.org/x/crypto/ssh"
)

// Linted is a template whose finished bytes follow every rule. Only [Template.Lint] makes one, and nothing else can be
// signed.
type Linted struct{ template Template }

// SSH reports whether the pair has an SSH certificate: a proxy has none, nor has a user without a login.
func (l Linted) SSH() bool { return l.template.SSH != nil }

// Until returns when the certificates expire, exclusive; zero when nothing was linted.
func (l Linted) Until() time.Time {
	if l.template.X509 == nil {
		return time.Time{}
	}
	return l.template.X509.NotAfter
}

// SignSSH signs the SSH certificate with an authority's P-256 key, such as one in KMS, and returns it in wire format.
func (l Linted) SignSSH(ca crypto.Signer) ([]byte, error) {
	if l.template.SSH == nil {
		return nil, errors.New("signing an SSH certificate: this pair has none")
	}
	cert := *l.template.SSH
	if err := signSSH(&cert, ca); err != nil {
		return nil, err
	}
	return cert.Marshal(), nil
}

// SignX509 signs the X.509 certificate with an authority's P-256 key and returns it in DER.
func (l Linted) SignX509(ca crypto.Signer) ([]byte, error) {
	if l.template.X509 == nil {
		return nil, errors.New("signing an X.509 certificate: it has not been linted")
	}
	return signX509(l.template.X509, l.template.TLSKey, ca)
}

// Digest returns a hex SHA-256 over what the certificates will say. The linted X.509 bytes are not those that are signed,
// since each signing draws its own randomness, but identity, keys, principals and times are.
func (l Linted) Digest(identity any) (string, error) {
	t := l.template
	if t.X509 == nil {
		return "", errors.New("digesting a certificate's content: it has not been linted")
	}
	said := struct {
		Identity   any       `json:"identity"`
		Principals []string  `json:"principals,omitempty"`
		SSHKey     []byte    `json:"ssh_key,omitempty"`
		TLSKey     []byte    `json:"tls_key"`
		From       time.Time `json:"from"`
		Until      time.Time `json:"until"`
	}{Identity: identity, From: t.X509.NotBefore, Until: t.X509.NotAfter}
	var err error
	if said.TLSKey, err = t.TLSKey.Bytes(); err != nil {
		return "", fmt.Errorf("digesting a certificate's content: %w", err)
	}
	if t.SSH != nil {
		said.Principals, said.SSHKey = t.SSH.ValidPrincipals, t.SSH.Key.Marshal()
	}
	b, err := json.Marshal(said)
	if err != nil {
		return "", fmt.Errorf("digesting a certificate's content: %w", err)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), nil
}

// signSSH signs the certificate in place: it sets nonce, signature key and signature. It only checks that
// the certificate and the key are of the right kind.
func signSSH(cert *ssh.Certificate, ca crypto.Signer) error {
	signer, err := ssh.NewSignerFromSigner(ca)
	if err != nil {
		return fmt.Errorf("signing an SSH certificate: %w", err)
	}
	if err := cert.SignCert(rand.Reader, signer); err != nil {
		return fmt.Errorf("signing an SSH certificate: %w", err)
	}
	return nil
}

// issuer is the issuer's name in X.509 certificates. Nobody reads it: authorities are
// compared by key.
var issuer = &x509.Certificate{Subject: pkix.Name{CommonName: "stile"}}

// signX509 signs the template for the subject's key and returns the certificate in DER.
func signX509(template *x509.Certificate, subject *ecdsa.PublicKey, ca crypto.Signer) ([]byte, error) {
	parent := *issuer
	parent.PublicKey = ca.Public()
	der, err := x509.CreateCertificate(rand.Reader, template, &parent, subject, ca)
	if err != nil {
		return nil, fmt.Errorf("signing an X.509 certificate: %w", err)
	}
	return der, nil
}

// KeysHash binds both public keys of a credential into the evidence of a login or join: base64url without
// padding of SHA-256 over "stile-keys-v1\n" and, for each SubjectPublicKeyInfo in DER, SSH first, its length
// (4 bytes, big-endian) and its bytes.
func KeysHash(sshSPKI, tlsSPKI []byte) string {
	h := sha256.New()
	h.Write([]byte("stile-keys-v1\n"))
	for _, k := range [][]byte{sshSPKI, tlsSPKI} {
		h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(k))))
		h.Write(k)
	}
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}

// KeysDigest returns what the keys of a join sign to prove themselves: SHA-256 over "stile-keys-v1\n", the challenge, "\n" and
// the keys' hash.
func KeysDigest(challenge, keys string) [32]byte {
	return sha256.Sum256([]byte("stile-keys-v1\n" + challenge + "\n" + keys))
}

// RenewDigest returns what the previous credential's key signs at a renewal: SHA-256 over
// "stile-renew-v1\n", the challenge, "\n" and the hash of the new keys.
func RenewDigest(challenge, keys string) [32]byte {
	return sha256.Sum256([]byte("stile-renew-v1\n" + challenge + "\n" + keys))
}
