// Package state is an agent's directory: its private keys and its credential, for its user alone.
//
// It verifies nothing; package enrol opens what it returns. Its entry point is [Open].
package state

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/stile-dev/stile/pkg/durable"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/joiner"
	"github.com/stile-dev/stile/pkg/wire"
)

// Names in the directory.
const (
	sshKey     = "ssh.key"
	tlsKey     = "tls.key"
	credential = "credential.json"
	lock       = "lock"
	Documents  = "documents"  // directory of package document/shelf
	Spool      = "spool"      // directory of package spool
	Recordings = "recordings" // directory of package record
)

// Dir is the directory, locked for one process.
type Dir struct {
	path string
	lock *os.File
}

// Open makes the directory when it is absent and locks it. A second agent on it is refused.
func Open(path string) (*Dir, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("making the state directory: %w", err)
	}
	if err := os.Chmod(path, 0o700); err != nil {
		return nil, fmt.Errorf("making the state directory private: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(path, lock), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking the state directory: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, fault.Newf(fault.Conflict, "stop the other agent, or give this one its own state directory",
			"another agent is using the state directory %s", path).Because(err)
	}
	return &Dir{path: path, lock: f}, nil
}

// Close releases the directory.
func (d *Dir) Close() error { return d.lock.Close() }

// Path returns the path of a name in the directory.
func (d *Dir) Path(name string) string { return filepath.Join(d.path, name) }

// Keys reads the private keys, or makes them at the first start.
func (d *Dir) Keys() (joiner.Keys, error) {
	var k joiner.Keys
	var err error
	if k.SSH, err = d.key(sshKey); err != nil {
		return k, err
	}
	k.TLS, err = d.key(tlsKey)
	return k, err
}

func (d *Dir) key(name string) (*ecdsa.PrivateKey, error) {
	b, err := os.ReadFile(d.Path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return d.newKey(name)
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	if err := os.Chmod(d.Path(name), 0o600); err != nil {
		return nil, fmt.Errorf("making %s private: %w", name, err)
	}
	block, _ := pem.Decode(b)
	if block == nil {
		return nil, fmt.Errorf("reading %s: it is not PEM; remove it to join with a new key", d.Path(name))
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w; remove it to join with a new key", d.Path(name), err)
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, fmt.Errorf("reading %s: it is not a P-256 key; remove it to join with a new one", d.Path(name))
	}
	return key, nil
}

func (d *Dir) newKey(name string) (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making %s: %w", name, err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("making %s: %w", name, err)
	}
	return key, d.write(name, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// Load returns the credential that was saved last.
func (d *Dir) Load() (wire.HostCredential, bool, error) {
	var w wire.HostCredential
	b, err := os.ReadFile(d.Path(credential))
	if errors.Is(err, fs.ErrNotExist) {
		return w, false, nil
	}
	if err != nil {
		return w, false, fmt.Errorf("reading the credential: %w", err)
	}
	if err := json.Unmarshal(b, &w); err != nil {
		return w, false, fmt.Errorf("reading %s: %w; remove it to join again", d.Path(credential), err)
	}
	return w, true, nil
}

// Save keeps a credential. The documents that came with it are kept by package document/shelf.
func (d *Dir) Save(w wire.HostCredential) error {
	w.Trust = nil
	b, err := json.Marshal(w)
	if err != nil {
		return fmt.Errorf("saving the credential: %w", err)
	}
	return d.write(credential, b)
}

// write replaces a file: a crash at any moment, also of the machine, leaves the old one or the new one whole. Once it returns, it is
// the new one: a credential that was superseded would be refused.
func (d *Dir) write(name string, b []byte) error {
	if err := durable.Write(d.Path(name), b); err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	return nil
}
