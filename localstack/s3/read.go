package s3

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/johannesboyne/gofakes3"
	"go.etcd.io/bbolt"

	"github.com/stile-dev/stile/localstack/iam"
)

// Found is an object of a listing.
type Found struct {
	Key  string
	Size int64 // bytes
}

// ErrDenied means that a principal may not do to a bucket what was asked for.
var ErrDenied = errors.New("AccessDenied")

// as decides whether a principal, for which another service acts, may do an operation; [ErrDenied] if not. It is no error of
// the bucket's if there is none.
func (s *Service) as(who *iam.Principal, op operation) (there bool, err error) {
	info, there, err := s.store.info(op.bucket)
	if err != nil {
		return false, err
	}
	policies, err := info.policies(op.bucket)
	if err != nil {
		return false, err
	}
	d := s.config.Authority.Decide(who, iam.Query{
		Action: op.action, Resource: op.resource(s.config.Authority.Partition()), ResourcePolicies: policies,
		Context: map[string][]string{"aws:SecureTransport": {"true"}},
	})
	if !d.Allowed {
		return there, fmt.Errorf("%s may not %s %s %s: %w", who, op.action, op.resource(s.config.Authority.Partition()), d.Reason, ErrDenied)
	}
	return there, nil
}

// Locate holds that a bucket is there, for a principal that may ask for its location.
func (s *Service) Locate(who *iam.Principal, bucket string) error {
	there, err := s.as(who, operation{name: "GetBucketLocation", action: "s3:GetBucketLocation", bucket: bucket})
	if err == nil && !there {
		return gofakes3.BucketNotFound(bucket)
	}
	return err
}

// List returns the objects of a bucket below a prefix, for a principal that may list it there; an error if they are more than most.
func (s *Service) List(who *iam.Principal, bucket, prefix string, most int) (list []Found, err error) {
	there, err := s.as(who, operation{name: "ListObjects", action: "s3:ListBucket", bucket: bucket})
	if err != nil {
		return nil, err
	}
	if !there {
		return nil, gofakes3.BucketNotFound(bucket)
	}
	err = s.store.db.View(func(tx *bbolt.Tx) error {
		t, err := s.store.objects(tx, bucket)
		if err != nil {
			return err
		}
		c := t.Cursor()
		for k, raw := c.Seek([]byte(prefix)); k != nil && bytes.HasPrefix(k, []byte(prefix)); k, raw = c.Next() {
			var o object
			if err := json.Unmarshal(raw, &o); err != nil {
				return fmt.Errorf("object %s: %w", k, err)
			}
			if o.Deleted {
				continue
			}
			if len(list) == most {
				return fmt.Errorf("below s3://%s/%s are more than %d objects", bucket, prefix, most)
			}
			list = append(list, Found{string(k), o.Size})
		}
		return nil
	})
	return list, err
}

// open opens an object for a principal that may read it.
func (s *Service) open(who *iam.Principal, bucket, key string) (*gofakes3.Object, error) {
	there, err := s.as(who, operation{name: "GetObject", action: "s3:GetObject", bucket: bucket, key: key})
	if err != nil {
		return nil, err
	}
	if !there {
		return nil, gofakes3.BucketNotFound(bucket)
	}
	return s.store.GetObject(bucket, key, nil)
}

// Read returns an object of at most a number of bytes.
func (s *Service) Read(who *iam.Principal, bucket, key string, most int64) (body []byte, err error) {
	o, err := s.open(who, bucket, key)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, o.Contents.Close()) }()
	if o.Size > most {
		return nil, fmt.Errorf("s3://%s/%s is larger than %d bytes", bucket, key, most)
	}
	return io.ReadAll(o.Contents)
}

// Copy writes an object into a new file.
func (s *Service) Copy(who *iam.Principal, bucket, key, file string) (err error) {
	o, err := s.open(who, bucket, key)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, o.Contents.Close()) }()
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, o.Contents)
	return errors.Join(err, f.Close())
}
