// Package certstest signs certificates for tests without any lint: forged ones, and those of test authorities.
//
// Product code does not import it. Its entry points are [SignSSH] and [SignX509].
package certstest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"

	"golang.org/x/crypto/ssh"
)

// SignSSH signs the certificate in place, whatever it says.
func SignSSH(cert *ssh.Certificate, ca crypto.Signer) error {
	signer, err := ssh.NewSignerFromSigner(ca)
	if err != nil {
		return err
	}
	return cert.SignCert(rand.Reader, signer)
}

// SignX509 signs the template for the subject's key, whatever it says, and returns the certificate in DER.
func SignX509(template *x509.Certificate, subject *ecdsa.PublicKey, ca crypto.Signer) ([]byte, error) {
	parent := &x509.Certificate{Subject: pkix.Name{CommonName: "stile"}, PublicKey: ca.Public()}
	return x509.CreateCertificate(rand.Reader, template, parent, subject, ca)
}
