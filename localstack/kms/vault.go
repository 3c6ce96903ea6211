package kms

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"go.etcd.io/bbolt"
)

// The states of a key.
const (
	enabled  = "Enabled"
	disabled = "Disabled"
	pending  = "PendingDeletion"
)

// The key specs that are understood, with the one usage of each.
const (
	specP256 = "ECC_NIST_P256"
	specHMAC = "HMAC_256"
	usageMAC = "GENERATE_VERIFY_MAC"
	usageSig = "SIGN_VERIFY"
)

var usageOf = map[string]string{specP256: usageSig, specHMAC: usageMAC}

// key is one KMS key. What vault hands out is a copy, except for the material, which never changes.
type key struct {
	ID          string
	Spec        string
	Usage       string
	State       string
	Description string
	Policy      json.RawMessage // with the unique ids of its principals
	Declared    json.RawMessage `json:",omitempty"` // what it was put as
	Tags        map[string]string
	Created     time.Time
	Deletion    time.Time // when State is PendingDeletion

	signing *ecdsa.PrivateKey // one of the two
	mac     []byte
}

// vault keeps keys and aliases: their descriptions in kms.bolt, each secret in its own file.
type vault struct {
	dir string
	db  *bbolt.DB

	mu      sync.RWMutex
	keys    map[string]*key
	aliases map[string]alias
}

type alias struct {
	Target  string
	Created time.Time
	Updated time.Time
}

var (
	keyBucket   = []byte("key")
	aliasBucket = []byte("alias")
)

func openVault(dir string) (*vault, error) {
	if err := os.MkdirAll(filepath.Join(dir, "keys"), 0o700); err != nil {
		return nil, err
	}
	db, err := bbolt.Open(filepath.Join(dir, "kms.bolt"), 0o600, &bbolt.Options{Timeout: 5 * time.Second})
	if err != nil {
		return nil, fmt.Errorf("another process may have %s open: %w", dir, err)
	}
	v := &vault{dir: dir, db: db, keys: map[string]*key{}, aliases: map[string]alias{}}
	if err := db.Update(v.load); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return v, nil
}

func (v *vault) close() error { return v.db.Close() }

func (v *vault) load(tx *bbolt.Tx) error {
	keys, err := tx.CreateBucketIfNotExists(keyBucket)
	if err != nil {
		return err
	}
	aliases, err := tx.CreateBucketIfNotExists(aliasBucket)
	if err != nil {
		return err
	}
	err = keys.ForEach(func(id, raw []byte) error {
		var k key
		if err := json.Unmarshal(raw, &k); err != nil {
			return fmt.Errorf("key %s: %w", id, err)
		}
		v.keys[k.ID] = &k
		return v.loadMaterial(&k)
	})
	if err != nil {
		return err
	}
	return aliases.ForEach(func(name, raw []byte) error {
		var a alias
		err := json.Unmarshal(raw, &a)
		v.aliases[string(name)] = a
		return err
	})
}

func (v *vault) file(id string) string { return filepath.Join(v.dir, "keys", id+".pem") }

func (v *vault) loadMaterial(k *key) error {
	raw, err := os.ReadFile(v.file(k.ID))
	if err != nil {
		return fmt.Errorf("reading key material: %w", err)
	}
	block, _ := pem.Decode(raw)
	if block == nil {
		return fmt.Errorf("key %s: its file contains no PEM", k.ID)
	}
	if k.Spec == specHMAC {
		k.mac = block.Bytes
		return nil
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return fmt.Errorf("key %s: %w", k.ID, err)
	}
	signing, ok := parsed.(*ecdsa.PrivateKey)
	if !ok {
		return fmt.Errorf("key %s: its file contains a %T", k.ID, parsed)
	}
	k.signing = signing
	return nil
}

// generate makes the secret and writes it to disk before anyone may use it.
func (v *vault) generate(k *key) error {
	block := &pem.Block{Type: "HMAC KEY"}
	if k.Spec == specHMAC {
		k.mac = make([]byte, 32)
		_, _ = rand.Read(k.mac) // never fails; see crypto/rand
		block.Bytes = k.mac
	} else {
		var err error
		if k.signing, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			return fmt.Errorf("generating a key: %w", err)
		}
		block.Type = "PRIVATE KEY"
		if block.Bytes, err = x509.MarshalPKCS8PrivateKey(k.signing); err != nil {
			return fmt.Errorf("encoding a key: %w", err)
		}
	}
	f, err := os.OpenFile(v.file(k.ID), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("writing key material: %w", err)
	}
	return errors.Join(pem.Encode(f, block), f.Sync(), f.Close())
}

// get returns a copy of the key. One whose deletion is due is deleted.
func (v *vault) get(id string, now time.Time) (*key, bool) {
	v.mu.RLock()
	k, ok := v.keys[id]
	if ok && (k.State != pending || !now.After(k.Deletion)) {
		defer v.mu.RUnlock()
		copied := *k
		return &copied, true
	}
	v.mu.RUnlock()
	if ok {
		v.purge(id)
	}
	return nil, false
}

// purge forgets a key and its aliases. What can't be removed now is tried again at the next lookup.
func (v *vault) purge(id string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	err := v.db.Update(func(tx *bbolt.Tx) error {
		for name, a := range v.aliases {
			if a.Target != id {
				continue
			}
			if err := tx.Bucket(aliasBucket).Delete([]byte(name)); err != nil {
				return err
			}
		}
		return tx.Bucket(keyBucket).Delete([]byte(id))
	})
	if err != nil {
		return
	}
	if err := os.Remove(v.file(id)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return
	}
	delete(v.keys, id)
	maps.DeleteFunc(v.aliases, func(_ string, a alias) bool { return a.Target == id })
}

// put stores a key's description.
func (v *vault) put(k *key) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if err := v.store(keyBucket, k.ID, k); err != nil {
		return err
	}
	v.keys[k.ID] = k
	return nil
}

// change edits a key's description, excluding other changes.
func (v *vault) change(id string, edit func(*key)) (*key, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	before, ok := v.keys[id]
	if !ok {
		return nil, fmt.Errorf("key %s has vanished", id)
	}
	k := *before
	edit(&k)
	if err := v.store(keyBucket, id, k); err != nil {
		return nil, err
	}
	v.keys[id] = &k
	copied := k
	return &copied, nil
}

func (v *vault) store(bucket []byte, name string, value any) error {
	raw, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("encoding %s: %w", name, err)
	}
	err = v.db.Update(func(tx *bbolt.Tx) error { return tx.Bucket(bucket).Put([]byte(name), raw) })
	if err != nil {
		return fmt.Errorf("storing %s: %w", name, err)
	}
	return nil
}

func (v *vault) alias(name string) (target string, ok bool) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	a, ok := v.aliases[name]
	return a.Target, ok
}

func (v *vault) aliasesOf(id string) []string {
	v.mu.RLock()
	defer v.mu.RUnlock()
	var out []string
	for name, a := range v.aliases {
		if a.Target == id {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// allAliases returns a copy.
func (v *vault) allAliases() map[string]alias {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return maps.Clone(v.aliases)
}

// putAlias points the alias at a key; with create it must not exist yet, otherwise it must.
func (v *vault) putAlias(name, target string, create bool, now time.Time) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	a, there := v.aliases[name]
	if there == create {
		return errAlias
	}
	if create {
		a.Created = now
	}
	a.Target, a.Updated = target, now
	if err := v.store(aliasBucket, name, a); err != nil {
		return err
	}
	v.aliases[name] = a
	return nil
}

var errAlias = errors.New("the alias exists, or doesn't")

func (v *vault) dropAlias(name string) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	err := v.db.Update(func(tx *bbolt.Tx) error { return tx.Bucket(aliasBucket).Delete([]byte(name)) })
	if err != nil {
		return fmt.Errorf("removing %s: %w", name, err)
	}
	delete(v.aliases, name)
	return nil
}
