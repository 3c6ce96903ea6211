package s3

import (
	"bytes"
	"crypto/md5" //nolint:gosec // S3's ETag is an MD5
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/johannesboyne/gofakes3"
	"go.etcd.io/bbolt"
)

// backend keeps what gofakes3 serves: descriptions in s3.bolt, bytes in a file for each object, so that a
// conditional write is one transaction and a large object is never in memory twice.
type backend struct {
	dir string
	db  *bbolt.DB
	now func() time.Time

	created func(Created) // may be nil
}

var (
	bucketTable = []byte("bucket") // name → bucketInfo
	objectTable = []byte("object") // name → nested bucket: key → object
)

// bucketInfo is what is known about a bucket.
type bucketInfo struct {
	Created    time.Time
	Policy     json.RawMessage `json:",omitempty"` // with the unique ids of its principals
	Declared   json.RawMessage `json:",omitempty"` // what it was put as
	Properties map[string]any  `json:",omitempty"` // as the template declares them
	Tells      bool            `json:",omitempty"` // EventBridge of new objects
	Lock       *lockRule       `json:",omitempty"` // nil without Object Lock
}

// object describes one stored object, or a delete marker. The newest version of a key has the others with it.
type object struct {
	Size     int64
	Hash     []byte
	Metadata map[string]string
	Modified time.Time
	Blob     string   // file name under blobs/; "" of a delete marker
	Version  string   `json:",omitempty"` // "" in a bucket without versions
	Deleted  bool     `json:",omitempty"` // a delete marker
	Older    []object `json:",omitempty"` // the newest first

	Retention retention `json:",omitzero"`
	Hold      string    `json:",omitempty"` // ON, OFF, or "" if it never had one
}

func openBackend(dir string, now func() time.Time) (*backend, error) {
	if err := os.MkdirAll(filepath.Join(dir, "blobs"), 0o700); err != nil {
		return nil, err
	}
	db, err := bbolt.Open(filepath.Join(dir, "s3.bolt"), 0o600, &bbolt.Options{Timeout: 5 * time.Second})
	if err != nil {
		return nil, fmt.Errorf("another process may have %s open: %w", dir, err)
	}
	b := &backend{dir: dir, db: db, now: now}
	err = db.Update(func(tx *bbolt.Tx) error {
		_, one := tx.CreateBucketIfNotExists(bucketTable)
		_, two := tx.CreateBucketIfNotExists(objectTable)
		return errors.Join(one, two)
	})
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return b, nil
}

// info reads a bucket's description.
func (b *backend) info(name string) (info bucketInfo, ok bool, err error) {
	err = b.db.View(func(tx *bbolt.Tx) error {
		raw := tx.Bucket(bucketTable).Get([]byte(name))
		if ok = raw != nil; !ok {
			return nil
		}
		return json.Unmarshal(raw, &info)
	})
	return info, ok, err
}

// describe creates the bucket if need be and edits its description.
func (b *backend) describe(name string, edit func(*bucketInfo)) error {
	return b.db.Update(func(tx *bbolt.Tx) error {
		info := bucketInfo{Created: b.now().UTC()}
		if raw := tx.Bucket(bucketTable).Get([]byte(name)); raw != nil {
			if err := json.Unmarshal(raw, &info); err != nil {
				return err
			}
		}
		edit(&info)
		raw, err := json.Marshal(info)
		if err != nil {
			return err
		}
		if _, err := tx.Bucket(objectTable).CreateBucketIfNotExists([]byte(name)); err != nil {
			return err
		}
		return tx.Bucket(bucketTable).Put([]byte(name), raw)
	})
}

// remove deletes a bucket that is empty; nil when there is none.
func (b *backend) remove(name string) error {
	return b.db.Update(func(tx *bbolt.Tx) error {
		held := tx.Bucket(objectTable).Bucket([]byte(name))
		if held == nil {
			return nil
		}
		if key, _ := held.Cursor().First(); key != nil {
			return fmt.Errorf("bucket %s: the bucket you tried to delete is not empty", name)
		}
		return errors.Join(tx.Bucket(objectTable).DeleteBucket([]byte(name)), tx.Bucket(bucketTable).Delete([]byte(name)))
	})
}

func (b *backend) objects(tx *bbolt.Tx, name string) (*bbolt.Bucket, error) {
	t := tx.Bucket(objectTable).Bucket([]byte(name))
	if t == nil {
		return nil, gofakes3.BucketNotFound(name)
	}
	return t, nil
}

// ListBuckets lists all buckets by name.
func (b *backend) ListBuckets() ([]gofakes3.BucketInfo, error) {
	var out []gofakes3.BucketInfo
	err := b.db.View(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketTable).ForEach(func(name, raw []byte) error {
			var info bucketInfo
			err := json.Unmarshal(raw, &info)
			out = append(out, gofakes3.BucketInfo{Name: string(name), CreationDate: gofakes3.NewContentTime(info.Created)})
			return err
		})
	})
	return out, err
}

// ListBucket lists a page of keys and common prefixes in order.
func (b *backend) ListBucket(name string, prefix *gofakes3.Prefix, page gofakes3.ListBucketPage) (*gofakes3.ObjectList, error) {
	if prefix == nil {
		prefix = &gofakes3.Prefix{}
	}
	list := gofakes3.NewObjectList()
	err := b.db.View(func(tx *bbolt.Tx) error {
		t, err := b.objects(tx, name)
		if err != nil {
			return err
		}
		return fillPage(list, t.Cursor(), prefix, page)
	})
	return list, err
}

// fillPage walks the keys after the marker. The marker to continue from is the last key looked at, so that a
// common prefix with keys left is not listed again.
func fillPage(list *gofakes3.ObjectList, c *bbolt.Cursor, prefix *gofakes3.Prefix, page gofakes3.ListBucketPage) error {
	var count int64
	var lastPrefix, last string
	k, v := c.Seek([]byte(page.Marker))
	if page.HasMarker && string(k) == page.Marker {
		k, v = c.Next()
	}
	for ; k != nil; k, v = c.Next() {
		var match gofakes3.PrefixMatch
		if !prefix.Match(string(k), &match) {
			continue
		}
		if match.CommonPrefix && match.MatchedPart == lastPrefix {
			last = string(k)
			continue
		}
		var o object
		if err := json.Unmarshal(v, &o); err != nil {
			return fmt.Errorf("object %s: %w", k, err)
		}
		if o.Deleted {
			continue
		}
		if page.MaxKeys > 0 && count == page.MaxKeys {
			list.IsTruncated, list.NextMarker = true, last
			return nil
		}
		count, last = count+1, string(k)
		if match.CommonPrefix {
			lastPrefix = match.MatchedPart
			list.AddPrefix(match.MatchedPart)
			continue
		}
		list.Add(&gofakes3.Content{
			Key: string(k), ETag: gofakes3.FormatETag(o.Hash), Size: o.Size, LastModified: gofakes3.NewContentTime(o.Modified),
		})
	}
	return nil
}

// CreateBucket is not reached: buckets come from templates.
func (b *backend) CreateBucket(string) error { return gofakes3.ErrNotImplemented }

// BucketExists reports whether there is such a bucket.
func (b *backend) BucketExists(name string) (bool, error) {
	_, ok, err := b.info(name)
	return ok, err
}

// DeleteBucket is not reached: buckets come from templates.
func (b *backend) DeleteBucket(string) error { return gofakes3.ErrNotImplemented }

// ForceDeleteBucket is not reached: buckets come from templates.
func (b *backend) ForceDeleteBucket(string) error { return gofakes3.ErrNotImplemented }

// find reads an object's description; KeyNotFound when there is none.
func (b *backend) find(bucket, key string) (object, error) {
	var o object
	err := b.db.View(func(tx *bbolt.Tx) error {
		t, err := b.objects(tx, bucket)
		if err != nil {
			return err
		}
		raw := t.Get([]byte(key))
		if raw == nil {
			return gofakes3.KeyNotFound(key)
		}
		if err := json.Unmarshal(raw, &o); err != nil {
			return err
		}
		if o.Deleted {
			return gofakes3.KeyNotFound(key)
		}
		return nil
	})
	return o, err
}

func (b *backend) blob(name string) string { return filepath.Join(b.dir, "blobs", name) }

// GetObject opens an object, or a range of it.
func (b *backend) GetObject(bucket, key string, want *gofakes3.ObjectRangeRequest) (*gofakes3.Object, error) {
	for {
		o, err := b.find(bucket, key)
		if err != nil {
			return nil, err
		}
		f, err := os.Open(b.blob(o.Blob))
		if errors.Is(err, os.ErrNotExist) {
			if again, err := b.find(bucket, key); err == nil && again.Blob == o.Blob {
				return nil, fmt.Errorf("object %s/%s: its bytes are missing", bucket, key)
			}
			continue // replaced between the two looks
		}
		if err != nil {
			return nil, err
		}
		span, err := want.Range(o.Size)
		if err != nil {
			_ = f.Close() // was only read; the first error is the one to report
			return nil, err
		}
		out := describeObject(key, o)
		out.Contents, out.Range = f, span
		if span != nil {
			out.Contents = section{io.NewSectionReader(f, span.Start, span.Length), f}
		}
		return out, nil
	}
}

type section struct {
	io.Reader
	io.Closer
}

func describeObject(key string, o object) *gofakes3.Object {
	return &gofakes3.Object{Name: key, Metadata: o.Metadata, Size: o.Size, Hash: o.Hash, Contents: io.NopCloser(bytes.NewReader(nil))}
}

// HeadObject describes an object.
func (b *backend) HeadObject(bucket, key string) (*gofakes3.Object, error) {
	o, err := b.find(bucket, key)
	if err != nil {
		return nil, err
	}
	return describeObject(key, o), nil
}

// PutObject writes the bytes to a new file, then makes that the object in one transaction with the
// conditions.
func (b *backend) PutObject(bucket, key string, meta map[string]string, in io.Reader, size int64, conditions *gofakes3.PutConditions) (gofakes3.PutObjectResult, error) {
	about, _, err := b.info(bucket)
	if err != nil {
		return gofakes3.PutObjectResult{}, err
	}
	o, err := b.write(in, size)
	if err != nil {
		return gofakes3.PutObjectResult{}, err
	}
	o.Metadata, o.Retention = meta, about.Lock.begin(b.now())
	versions := about.versioned()
	if versions {
		o.Version = newVersion()
	}
	old := ""
	err = b.db.Update(func(tx *bbolt.Tx) error {
		t, err := b.objects(tx, bucket)
		if err != nil {
			return err
		}
		info := gofakes3.ConditionalObjectInfo{}
		if raw := t.Get([]byte(key)); raw != nil {
			var before object
			if err := json.Unmarshal(raw, &before); err != nil {
				return err
			}
			info.Exists, info.Hash = !before.Deleted, before.Hash
			if old = before.Blob; versions {
				old, o.Older = "", before.versions()
			}
		}
		if conditions != nil {
			if err := gofakes3.CheckPutConditions(conditions, &info); err != nil {
				return err
			}
		}
		raw, err := json.Marshal(o)
		if err != nil {
			return err
		}
		return t.Put([]byte(key), raw)
	})
	if err != nil {
		_ = b.discard(o.Blob) // the first error is the one to report, and unwrapped: gofakes3 looks at its type
		return gofakes3.PutObjectResult{}, err
	}
	about.tell(b.created, bucket, key, o)
	return gofakes3.PutObjectResult{VersionID: gofakes3.VersionID(o.Version)}, b.discard(old)
}

// discard removes bytes that no object has any more; a reader with the file open keeps them.
func (b *backend) discard(blob string) error {
	if blob == "" {
		return nil
	}
	if err := os.Remove(b.blob(blob)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// write stores the bytes durably under their own name.
func (b *backend) write(in io.Reader, size int64) (object, error) {
	f, err := os.CreateTemp(filepath.Join(b.dir, "blobs"), "")
	if err != nil {
		return object{}, err
	}
	sum := md5.New() //nolint:gosec // S3's ETag is an MD5
	n, err := io.Copy(io.MultiWriter(f, sum), in)
	if err == nil && n != size {
		err = gofakes3.ErrIncompleteBody
	}
	if err == nil {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		_ = os.Remove(f.Name()) // the first error is the one to report
		return object{}, err
	}
	return object{Size: n, Hash: sum.Sum(nil), Modified: b.now().UTC().Truncate(time.Second), Blob: filepath.Base(f.Name())}, nil
}

// DeleteObject deletes an object; it is not an error if there is none.
func (b *backend) DeleteObject(bucket, key string) (gofakes3.ObjectDeleteResult, error) {
	info, _, err := b.info(bucket)
	if err != nil {
		return gofakes3.ObjectDeleteResult{}, err
	}
	if info.versioned() {
		return b.mark(bucket, key)
	}
	old := ""
	err = b.db.Update(func(tx *bbolt.Tx) error {
		t, err := b.objects(tx, bucket)
		if err != nil {
			return err
		}
		raw := t.Get([]byte(key))
		if raw == nil {
			return nil
		}
		var o object
		if err := json.Unmarshal(raw, &o); err != nil {
			return err
		}
		old = o.Blob
		return t.Delete([]byte(key))
	})
	if err != nil {
		return gofakes3.ObjectDeleteResult{}, err
	}
	return gofakes3.ObjectDeleteResult{}, b.discard(old)
}

// DeleteMulti deletes each key.
func (b *backend) DeleteMulti(bucket string, keys ...string) (gofakes3.MultiDeleteResult, error) {
	var out gofakes3.MultiDeleteResult
	for _, key := range slices.Compact(keys) {
		if _, err := b.DeleteObject(bucket, key); err != nil {
			return out, err
		}
		out.Deleted = append(out.Deleted, gofakes3.ObjectID{Key: key})
	}
	return out, nil
}

// CopyObject is not reached: copies are refused before.
func (b *backend) CopyObject(_, _, _, _ string, _ map[string]string) (gofakes3.CopyObjectResult, error) {
	return gofakes3.CopyObjectResult{}, gofakes3.ErrNotImplemented
}
