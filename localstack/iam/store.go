package iam

import (
	"encoding/json"
	"fmt"

	"go.etcd.io/bbolt"
)

// The buckets of iam.bolt; each value is the JSON of one entry.
var buckets = []string{"role", "user", "key"}

// put writes one entry. The lock is held, and the maps are changed only after it has succeeded.
func (a *Authority) put(bucket, key string, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encoding %s %s: %w", bucket, key, err)
	}
	err = a.db.Update(func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte(bucket)).Put([]byte(key), raw)
	})
	if err != nil {
		return fmt.Errorf("storing %s %s: %w", bucket, key, err)
	}
	return nil
}

func (a *Authority) drop(bucket string, keys ...string) error {
	err := a.db.Update(func(tx *bbolt.Tx) error {
		for _, k := range keys {
			if err := tx.Bucket([]byte(bucket)).Delete([]byte(k)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("removing from %s: %w", bucket, err)
	}
	return nil
}

// load fills the maps and forgets sessions that expired a while ago.
func (a *Authority) load() error {
	var stale []string
	err := a.db.Update(func(tx *bbolt.Tx) error {
		for _, name := range buckets {
			b, err := tx.CreateBucketIfNotExists([]byte(name))
			if err != nil {
				return err
			}
			err = b.ForEach(func(k, v []byte) error {
				dead, err := a.loadEntry(name, string(k), v)
				if dead {
					stale = append(stale, string(k))
				}
				return err
			})
			if err != nil {
				return fmt.Errorf("reading %s: %w", name, err)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return a.drop("key", stale...)
}

func (a *Authority) loadEntry(bucket, key string, raw []byte) (dead bool, err error) {
	switch bucket {
	case "role":
		var r Role
		if err := json.Unmarshal(raw, &r); err != nil {
			return false, err
		}
		a.roles[key], err = newRoleEntry(r)
	case "user":
		var u UserRecord
		if err := json.Unmarshal(raw, &u); err != nil {
			return false, err
		}
		a.users[key], err = newUserEntry(u)
	case "key":
		var k keyRecord
		if err := json.Unmarshal(raw, &k); err != nil {
			return false, err
		}
		if !k.Expires.IsZero() && a.now().After(k.Expires.Add(forgetAfter)) {
			return true, nil
		}
		err = a.remember(k)
	}
	return false, err
}

// remember puts a key into the maps.
func (a *Authority) remember(k keyRecord) error {
	if len(k.Policy) > 0 {
		p, err := Parse("session policy", IdentityShape, k.Policy)
		if err != nil {
			return err
		}
		a.sessions[k.AccessKeyID] = p
	}
	a.keys[k.AccessKeyID] = k
	return nil
}
