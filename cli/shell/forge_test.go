package shell_test

import (
	"crypto/ecdsa"
	"crypto/rand"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/tunnel/tunneltest"
)

func signer(t *testing.T, c tunneltest.Credential) ssh.Signer {
	t.Helper()
	s, err := c.Signer()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func tlsKey(c tunneltest.Credential) *ecdsa.PrivateKey { return c.TLS.PrivateKey.(*ecdsa.PrivateKey) }

// signedByCertificate forges a host certificate as CVE-2025-49825 did: the signing key is a certificate whose
// own signature key is the authority's, so that a check which looks only there is satisfied.
func signedByCertificate(t *testing.T, p *place) ssh.Signer {
	t.Helper()
	ca, err := ssh.NewPublicKey(p.cluster.Keys[names.KeyHostSSH].Public())
	if err != nil {
		t.Fatal(err)
	}
	middle, err := ssh.NewSignerFromSigner(tunneltest.Key(t))
	if err != nil {
		t.Fatal(err)
	}
	_, node := p.cluster.Agent(nil, "node-1")
	forged := *node.SSHCert
	between := ssh.Certificate{Key: middle.PublicKey(), CertType: ssh.HostCert, ValidBefore: ssh.CertTimeInfinity, ValidPrincipals: []string{"node-1"}}
	if err := between.SignCert(rand.Reader, middle); err != nil {
		t.Fatal(err)
	}
	between.SignatureKey = ca
	// The library refuses to make such a certificate, so its bytes are signed here (PROTOCOL.certkeys: all
	// that stands before the signature).
	forged.SignatureKey, forged.Signature = &between, nil
	unsigned := forged.Marshal()
	if forged.Signature, err = middle.Sign(rand.Reader, unsigned[:len(unsigned)-4]); err != nil {
		t.Fatal(err)
	}
	plain, err := ssh.NewSignerFromSigner(node.SSHKey)
	if err != nil {
		t.Fatal(err)
	}
	s, err := ssh.NewCertSigner(&forged, plain)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
