package stand

import (
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"golang.org/x/crypto/ssh"

	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/document/shelf"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/tunnel"
)

// Credential is what somebody's login left, for those who connect without stile.
type Credential struct {
	Login   string
	Key     *ecdsa.PrivateKey // of the SSH certificate
	SSH     ssh.Signer        // the certificate with its key
	TLS     *tls.Certificate
	Trust   document.Trust
	Proxies []string
}

// Credential reads what the person's login left in their home.
func (p *Person) Credential() (*Credential, error) {
	found, err := filepath.Glob(filepath.Join(p.Home, "*", "credential.json"))
	if err != nil || len(found) != 1 {
		return nil, errors.Join(fmt.Errorf("%d credentials in %s", len(found), p.Home), err)
	}
	var stored struct {
		Logins         []string `json:"logins"`
		SSHCertificate []byte   `json:"ssh_certificate"`
		TLSCertificate []byte   `json:"tls_certificate"`
		SSHKey         []byte   `json:"ssh_key"`
		TLSKey         []byte   `json:"tls_key"`
	}
	c := &Credential{}
	dir := filepath.Dir(found[0])
	if err := errors.Join(readJSON(found[0], &stored), readJSON(filepath.Join(dir, "proxies.json"), &c.Proxies)); err != nil {
		return nil, err
	}
	documents, err := shelf.Open(filepath.Join(dir, "trust"), "", "")
	if err != nil {
		return nil, err
	}
	c.Trust = documents.Trust()
	if len(stored.Logins) == 0 || len(c.Proxies) == 0 {
		return nil, errors.New("the login gave no logins or no proxies")
	}
	c.Login = stored.Logins[0]
	sshKey, err1 := x509.ParsePKCS8PrivateKey(stored.SSHKey)
	tlsKey, err2 := x509.ParsePKCS8PrivateKey(stored.TLSKey)
	certificate, err3 := ssh.ParsePublicKey(stored.SSHCertificate)
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, err
	}
	c.TLS = &tls.Certificate{Certificate: [][]byte{stored.TLSCertificate}, PrivateKey: tlsKey}
	c.Key = sshKey.(*ecdsa.PrivateKey)
	plain, err := ssh.NewSignerFromSigner(c.Key)
	if err != nil {
		return nil, err
	}
	c.SSH, err = ssh.NewCertSigner(certificate.(*ssh.Certificate), plain)
	return c, err
}

func readJSON(path string, v any) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, v)
}

// Connect opens the bytes to a node through a proxy; dial may lead them over something slow, and nil is the usual way.
func (c *Credential) Connect(ctx context.Context, node string, dial tunnel.DialFunc) (net.Conn, error) {
	return tunnel.DialConnect(ctx, tunnel.ConnectConfig{
		Addrs: c.Proxies, Certificate: c.TLS, Trust: c.Trust, Target: identity.Target{Kind: names.KindNode, Name: node}, TraceID: "stand", Dial: dial,
	})
}
