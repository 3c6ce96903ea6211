package s3

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/johannesboyne/gofakes3"
	"go.etcd.io/bbolt"

	"github.com/stile-dev/stile/localstack/iam"
)

// ErrDenied is in the error of what a principal may not do.
var ErrDenied = errors.New("access denied")

// may asks for what another service does as a principal, whose policies and the bucket's decide.
func (s *Service) may(who *iam.Principal, op operation) error {
	info, there, err := s.store.info(op.bucket)
	if err != nil {
		return err
	}
	policies, err := info.policies(op.bucket)
	if err != nil {
		return err
	}
	if d := s.config.Authority.Decide(who, iam.Query{
		Action: op.action, Resource: op.resource(s.config.Authority.Partition()), ResourcePolicies: policies,
		Context: map[string][]string{"aws:SecureTransport": {"true"}, "aws:ResourceAccount": {s.config.Authority.Account()}},
	}); !d.Allowed {
		return fmt.Errorf("%w: %s may not %s %s %s", ErrDenied, who.ARN, op.action, strings.TrimSuffix(op.bucket+"/"+op.key, "/"), d.Reason)
	}
	if !there {
		return gofakes3.BucketNotFound(op.bucket)
	}
	return nil
}

// Put writes an object for another service that acts as a principal.
func (s *Service) Put(who *iam.Principal, bucket, key string, body []byte) error {
	if err := s.may(who, operation{name: "PutObject", action: "s3:PutObject", bucket: bucket, key: key}); err != nil {
		return err
	}
	_, err := s.store.PutObject(bucket, key, map[string]string{}, bytes.NewReader(body), int64(len(body)), nil)
	return err
}

// Get reads an object for another service that acts as a principal.
func (s *Service) Get(who *iam.Principal, bucket, key string) ([]byte, error) {
	if err := s.may(who, operation{name: "GetObject", action: "s3:GetObject", bucket: bucket, key: key}); err != nil {
		return nil, err
	}
	o, err := s.store.find(bucket, key)
	if err != nil {
		return nil, err
	}
	return os.ReadFile(s.store.blob(o.Blob))
}

// Stored is an object, and where its bytes are on this machine.
type Stored struct {
	Key  string
	Size int64
	Path string
}

// Find lists the objects below a prefix for another service that acts as a principal and will read each.
func (s *Service) Find(who *iam.Principal, bucket, prefix string) (found []Stored, err error) {
	for _, action := range []string{"s3:GetBucketLocation", "s3:ListBucket"} {
		if err := s.may(who, operation{name: strings.TrimPrefix(action, "s3:"), action: action, bucket: bucket}); err != nil {
			return nil, err
		}
	}
	err = s.store.db.View(func(tx *bbolt.Tx) error {
		t, err := s.store.objects(tx, bucket)
		if err != nil {
			return err
		}
		c := t.Cursor()
		for k, v := c.Seek([]byte(prefix)); k != nil && strings.HasPrefix(string(k), prefix); k, v = c.Next() {
			var o object
			if err := json.Unmarshal(v, &o); err != nil {
				return fmt.Errorf("object %s: %w", k, err)
			}
			if !o.Deleted {
				found = append(found, Stored{string(k), o.Size, s.store.blob(o.Blob)})
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, f := range found {
		if err := s.may(who, operation{name: "GetObject", action: "s3:GetObject", bucket: bucket, key: f.Key}); err != nil {
			return nil, err
		}
	}
	return found, nil
}
