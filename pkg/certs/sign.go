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
	"fmt"

	"golang.org/x/crypto/ssh"
)

// SignSSH signs the certificate in place: it sets nonce, signature key and signature. The signer is a P-256
// key such as one in KMS; nothing is checked here but that the certificate and the key are of that kind.
func SignSSH(cert *ssh.Certificate, ca crypto.Signer) error {
	signer, err := ssh.NewSignerFromSigner(ca)
	if err != nil {
		return fmt.Errorf("signing an SSH certificate: %w", err)
	}
	if err := cert.SignCert(rand.Reader, signer); err != nil {
		return fmt.Errorf("signing an SSH certificate: %w", err)
	}
	return nil
}

// issuer is the name that stands in X.509 certificates as their issuer. Nobody reads it: authorities are
// compared by key.
var issuer = &x509.Certificate{Subject: pkix.Name{CommonName: "stile"}}

// SignX509 signs the template for the subject's key and gives the certificate in DER.
func SignX509(template *x509.Certificate, subject *ecdsa.PublicKey, ca crypto.Signer) ([]byte, error) {
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

// RenewDigest is what the key of the credential held so far signs at a renewal: SHA-256 over
// "stile-renew-v1\n", the challenge, "\n" and the hash of the new keys.
func RenewDigest(challenge, keys string) [32]byte {
	return sha256.Sum256([]byte("stile-renew-v1\n" + challenge + "\n" + keys))
}
