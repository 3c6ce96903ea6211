package state_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"os"
	"path/filepath"
	"testing"

	"github.com/stile-dev/stile/agent/state"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/wire"
)

func open(t *testing.T, path string) *state.Dir {
	t.Helper()
	d, err := state.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func TestKeysAndCredentialOutliveARestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	d := open(t, path)
	keys, err := d.Keys()
	if err != nil {
		t.Fatal(err)
	}
	if _, held, err := d.Load(); held || err != nil {
		t.Fatalf("a credential before the first join: %v", err)
	}
	if err := d.Save(wire.HostCredential{ID: "agt_1", TLSCertificate: []byte{1}, Trust: []wire.SignedDocument{{Kind: "trust"}}}); err != nil {
		t.Fatal(err)
	}
	_ = d.Close()
	d = open(t, path)
	again, err := d.Keys()
	if err != nil || !again.SSH.Equal(keys.SSH) || !again.TLS.Equal(keys.TLS) || keys.SSH.Equal(keys.TLS) {
		t.Errorf("other keys after a restart, or one key for two: %v", err)
	}
	if w, held, err := d.Load(); !held || err != nil || w.ID != "agt_1" {
		t.Errorf("credential %+v, %v", w, err)
	}
}

func TestOneAgentForADirectory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	open(t, path)
	if _, err := state.Open(path); !fault.Is(err, fault.Conflict) {
		t.Errorf("a second one: %v", err)
	}
}

// TestSec_S51_KeysStandInTheirFilesAlone: nobody else may read anything in the directory, even where they could before,
// and the bytes of a private key stand in its one file and nowhere else, in no encoding.
func TestSec_S51_KeysStandInTheirFilesAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	if err := os.MkdirAll(path, 0o755); err != nil {
		t.Fatal(err)
	}
	d := open(t, path)
	keys, err := d.Keys()
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Save(wire.HostCredential{ID: "agt_1"}); err != nil {
		t.Fatal(err)
	}
	_ = d.Close()
	if err := os.Chmod(filepath.Join(path, "tls.key"), 0o644); err != nil { // somebody's backup put it back like this
		t.Fatal(err)
	}
	if _, err := open(t, path).Keys(); err != nil {
		t.Fatal(err)
	}
	secret, err := keys.TLS.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	needles := [][]byte{secret, []byte(hex.EncodeToString(secret)), []byte(base64.StdEncoding.EncodeToString(secret)), []byte(base64.RawURLEncoding.EncodeToString(secret))}
	err = filepath.Walk(path, func(name string, info os.FileInfo, err error) error {
		if err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s is %s, %v", name, info.Mode(), err)
		}
		if info.IsDir() || filepath.Base(name) == "tls.key" {
			return err
		}
		b, err := os.ReadFile(name)
		for _, n := range needles {
			if bytes.Contains(b, n) {
				t.Errorf("%s holds the private key", name)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestAKeyThatIsNoneIsNamed(t *testing.T) {
	path := t.TempDir()
	if err := os.WriteFile(filepath.Join(path, "ssh.key"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, path).Keys(); err == nil || !bytes.Contains([]byte(err.Error()), []byte("ssh.key")) {
		t.Errorf("got %v", err)
	}
}
