package profile

import (
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/stile-dev/stile/pkg/durable"
	"github.com/stile-dev/stile/pkg/entry"
	"github.com/stile-dev/stile/pkg/fault"
)

// Credential is a login: who, as what, until when, and how it is proved.
type Credential struct {
	API            string     `json:"api"`
	Cluster        string     `json:"cluster"`
	User           string     `json:"user"`
	Roles          []string   `json:"roles"`
	Logins         []string   `json:"logins"`              // principals of the SSH certificate
	DeniedBy       []string   `json:"denied_by,omitempty"` // roles that deny the logins which others give, if there are none
	CertificateID  string     `json:"certificate_id"`
	ExpiresAt      time.Time  `json:"expires_at"`
	SSHCertificate []byte     `json:"ssh_certificate"` // wire format
	TLSCertificate []byte     `json:"tls_certificate"` // DER
	Keys           entry.Keys `json:"-"`
}

// stored is the file's form.
type stored struct {
	Credential
	SSHKey []byte `json:"ssh_key"` // PKCS #8, DER
	TLSKey []byte `json:"tls_key"`
}

// Save replaces the previous credential, and makes its API the one to talk to from now on.
func (p *Profile) Save(c Credential) error {
	s := stored{Credential: c}
	var err error
	if s.SSHKey, err = x509.MarshalPKCS8PrivateKey(c.Keys.SSH); err != nil {
		return fmt.Errorf("encoding the ssh key: %w", err)
	}
	if s.TLSKey, err = x509.MarshalPKCS8PrivateKey(c.Keys.TLS); err != nil {
		return fmt.Errorf("encoding the tls key: %w", err)
	}
	b, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("encoding credential: %w", err)
	}
	if err := p.write(filepath.Join(p.dir, fileCredential), b); err != nil {
		return err
	}
	return p.write(filepath.Join(p.home, fileAPI), []byte(p.api+"\n"))
}

// Load reads the credential; Unauthenticated when there is none, however old it is otherwise.
func (p *Profile) Load() (Credential, error) {
	b, err := readPrivate(filepath.Join(p.dir, fileCredential))
	if errors.Is(err, fs.ErrNotExist) {
		return Credential{}, fault.Newf(fault.Unauthenticated, "run: stile login --iam", "not logged in at %s", p.api)
	}
	if err != nil {
		return Credential{}, p.unusable(err)
	}
	var s stored
	if err := json.Unmarshal(b, &s); err != nil {
		return Credential{}, damaged(err)
	}
	if s.Keys.SSH, err = privateKey(s.SSHKey); err != nil {
		return Credential{}, damaged(err)
	}
	if s.Keys.TLS, err = privateKey(s.TLSKey); err != nil {
		return Credential{}, damaged(err)
	}
	return s.Credential, nil
}

// Current is Load for callers who need it valid: Expired once its time is over.
func (p *Profile) Current(now time.Time) (Credential, error) {
	c, err := p.Load()
	if err != nil {
		return Credential{}, err
	}
	if !now.Before(c.ExpiresAt) {
		return c, fault.Newf(fault.Expired, "run: stile login --iam", "your login as %s ended at %s", c.User, c.ExpiresAt.Local().Format(time.DateTime))
	}
	return c, nil
}

// Remove deletes keys and certificates. The trust documents stay, since they only keep older ones out.
// It reports whether there was a credential.
func (p *Profile) Remove() (bool, error) {
	err := os.Remove(filepath.Join(p.dir, fileCredential))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, p.unusable(fmt.Errorf("removing credential: %w", err))
	}
	return true, durable.SyncDir(p.dir)
}

// Allows reports whether the certificate names the login as a principal.
func (c Credential) Allows(login string) bool { return slices.Contains(c.Logins, login) }

func privateKey(der []byte) (*ecdsa.PrivateKey, error) {
	k, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("parsing a key: %w", err)
	}
	ec, ok := k.(*ecdsa.PrivateKey)
	if !ok {
		return nil, errors.New("not an ECDSA key")
	}
	return ec, nil
}

func damaged(err error) error {
	return fault.New(fault.Unauthenticated, "the credential on this machine is damaged", "run: stile login --iam").Because(err)
}
