package s3

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/johannesboyne/gofakes3"
	"go.etcd.io/bbolt"

	"github.com/stile-dev/stile/localstack/gate"
)

// Versions: in a bucket whose template asks for them each write makes one, and a deletion hides them behind a marker.

func newVersion() string { return rand.Text() }

// versioned reports whether a bucket keeps versions.
func (b bucketInfo) versioned() bool {
	c, _ := b.Properties["VersioningConfiguration"].(map[string]any)
	return c["Status"] == "Enabled"
}

// versions are an object's, itself first.
func (o object) versions() []object {
	self := o
	self.Older = nil
	return append([]object{self}, o.Older...)
}

// mark puts a delete marker on top of a key's versions.
func (b *backend) mark(bucket, key string) (gofakes3.ObjectDeleteResult, error) {
	marker := object{Deleted: true, Version: newVersion(), Modified: b.now().UTC().Truncate(time.Second)}
	err := b.rewrite(bucket, key, func(all []object) ([]object, error) { return append([]object{marker}, all...), nil })
	return gofakes3.ObjectDeleteResult{IsDeleteMarker: true, VersionID: gofakes3.VersionID(marker.Version)}, err
}

// unmake removes one version for good, unless its lock forbids that; it is no error if there is none.
func (b *backend) unmake(bucket, key, version string, bypass bool) (was object, err error) {
	err = b.rewrite(bucket, key, func(all []object) (rest []object, err error) {
		for _, o := range all {
			if o.id() == version {
				was, err = o, o.removable(b.now(), bypass)
				continue
			}
			rest = append(rest, o)
		}
		return rest, err
	})
	if err == nil {
		err = b.discard(was.Blob)
	}
	return was, err
}

// id is how callers name a version.
func (o object) id() string {
	if o.Version == "" {
		return "null"
	}
	return o.Version
}

// relock changes the lock of one version, the newest if none is said.
func (b *backend) relock(bucket, key, version string, change func(*object) error) error {
	return b.rewrite(bucket, key, func(all []object) ([]object, error) {
		i, err := pick(all, key, version)
		if err == nil {
			err = change(&all[i])
		}
		return all, err
	})
}

// one reads the description of one version, the newest if none is said.
func (b *backend) one(bucket, key, version string) (object, error) {
	var all []object
	err := b.each(bucket, key, key, func(k string, _ bool, o object) bool {
		if k == key {
			all = append(all, o)
		}
		return k == key
	})
	if err != nil {
		return object{}, err
	}
	i, err := pick(all, key, version)
	if err != nil {
		return object{}, err
	}
	return all[i], nil
}

// pick finds one of a key's versions, the newest if none is said. A delete marker is none.
func pick(all []object, key, version string) (int, error) {
	i := slices.IndexFunc(all, func(o object) bool { return version == "" || o.id() == version })
	switch {
	case i < 0 && version != "":
		return 0, noSuchVersion()
	case i < 0, all[i].Deleted && version == "":
		return 0, &gate.Error{Code: "NoSuchKey", Status: http.StatusNotFound, Message: "The specified key does not exist: " + key}
	case all[i].Deleted:
		return 0, isMarker()
	}
	return i, nil
}

func noSuchVersion() error {
	return &gate.Error{Code: "NoSuchVersion", Status: http.StatusNotFound, Message: "The specified version does not exist."}
}

func isMarker() error {
	return &gate.Error{Code: "MethodNotAllowed", Status: http.StatusMethodNotAllowed, Message: "The specified method is not allowed against this resource."}
}

// rewrite replaces all versions of a key, in one transaction, unless the change fails.
func (b *backend) rewrite(bucket, key string, change func([]object) ([]object, error)) error {
	return b.db.Update(func(tx *bbolt.Tx) error {
		t, err := b.objects(tx, bucket)
		if err != nil {
			return err
		}
		var all []object
		if raw := t.Get([]byte(key)); raw != nil {
			var o object
			if err := json.Unmarshal(raw, &o); err != nil {
				return err
			}
			all = o.versions()
		}
		if all, err = change(all); err != nil {
			return err
		}
		if len(all) == 0 {
			return t.Delete([]byte(key))
		}
		newest := all[0]
		newest.Older = all[1:]
		raw, err := json.Marshal(newest)
		if err != nil {
			return err
		}
		return t.Put([]byte(key), raw)
	})
}

// each gives all versions of the keys under a prefix from a key on, the newest of each first, until take says no.
func (b *backend) each(bucket, prefix, from string, take func(key string, newest bool, o object) bool) error {
	return b.db.View(func(tx *bbolt.Tx) error {
		t, err := b.objects(tx, bucket)
		if err != nil {
			return err
		}
		c := t.Cursor()
		for k, v := c.Seek([]byte(max(prefix, from))); k != nil && strings.HasPrefix(string(k), prefix); k, v = c.Next() {
			var o object
			if err := json.Unmarshal(v, &o); err != nil {
				return err
			}
			for n, one := range o.versions() {
				if !take(string(k), n == 0, one) {
					return nil
				}
			}
		}
		return nil
	})
}

type versionList struct {
	XMLName             xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ ListVersionsResult"`
	Name                string
	Prefix              string
	KeyMarker           string
	VersionIDMarker     string `xml:"VersionIdMarker"`
	MaxKeys             int
	IsTruncated         bool
	NextKeyMarker       string          `xml:",omitempty"`
	NextVersionIDMarker string          `xml:"NextVersionIdMarker,omitempty"`
	Version             []listedVersion `xml:"Version"`
	DeleteMarker        []listedVersion `xml:"DeleteMarker"`
}

type listedVersion struct {
	Key          string
	VersionID    string `xml:"VersionId"`
	IsLatest     bool
	LastModified string
	ETag         string `xml:",omitempty"`
	Size         *int64 `xml:",omitempty"`
	StorageClass string `xml:",omitempty"`
}

// listVersions answers ListObjectVersions.
func (s *Service) listVersions(w http.ResponseWriter, c *gate.Call, op operation, query url.Values) error {
	out := versionList{Name: op.bucket, Prefix: query.Get("prefix"), KeyMarker: query.Get("key-marker"), VersionIDMarker: query.Get("version-id-marker"), MaxKeys: 1000}
	if text := query.Get("max-keys"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return &gate.Error{Code: "InvalidArgument", Message: "max-keys is no number"}
		}
		out.MaxKeys = min(n, out.MaxKeys)
	}
	if query.Has("delimiter") || query.Has("encoding-type") {
		return notImplemented("listing versions with a delimiter or an encoding")
	}
	count, behind := 0, out.KeyMarker == ""
	var last listedVersion
	err := s.store.each(op.bucket, out.Prefix, out.KeyMarker, func(key string, newest bool, o object) bool {
		if !behind && key == out.KeyMarker { // that key goes on behind the version, or is over
			behind = o.id() == out.VersionIDMarker
			return true
		}
		behind = true
		if count == out.MaxKeys {
			out.IsTruncated, out.NextKeyMarker, out.NextVersionIDMarker = true, last.Key, last.VersionID
			return false
		}
		count++
		last = listedVersion{Key: key, VersionID: o.id(), IsLatest: newest, LastModified: o.Modified.Format("2006-01-02T15:04:05.000Z")}
		if o.Deleted {
			out.DeleteMarker = append(out.DeleteMarker, last)
			return true
		}
		v := last
		v.ETag, v.Size, v.StorageClass = gofakes3.FormatETag(o.Hash), &o.Size, "STANDARD"
		out.Version = append(out.Version, v)
		return true
	})
	if err != nil {
		return err
	}
	gate.WriteXML(w, c, gate.RESTXML, http.StatusOK, out)
	return nil
}

// version answers GetObject and HeadObject of one version.
func (s *Service) version(w http.ResponseWriter, c *gate.Call, op operation, info bucketInfo, id string) error {
	var found *object
	err := s.store.each(op.bucket, op.key, op.key, func(key string, _ bool, o object) bool {
		if key == op.key && o.id() == id {
			found = &o
		}
		return key == op.key && found == nil
	})
	switch {
	case err != nil:
		return err
	case found == nil:
		return noSuchVersion()
	case found.Deleted:
		w.Header().Set("X-Amz-Delete-Marker", "true")
		return isMarker()
	}
	f, err := os.Open(s.store.blob(found.Blob))
	if err != nil {
		return err
	}
	defer f.Close()
	s.tellLock(w, c, op, info, *found)
	h := w.Header()
	h.Set("X-Amz-Request-Id", c.RequestID)
	h.Set("X-Amz-Version-Id", found.id())
	h.Set("ETag", `"`+hex.EncodeToString(found.Hash)+`"`)
	h.Set("Content-Type", "binary/octet-stream")
	for name, value := range found.Metadata {
		switch {
		case name == "Content-Type", strings.HasPrefix(name, "X-Amz-Meta-"):
			h.Set(name, value)
		case strings.HasPrefix(name, "X-Amz-Checksum-") && strings.EqualFold(c.HTTP.Header.Get("X-Amz-Checksum-Mode"), "ENABLED"):
			h.Set(name, value)
		}
	}
	http.ServeContent(w, c.HTTP, "", found.Modified, f)
	return nil
}

// unmake answers DeleteObject of one version.
func (s *Service) unmake(w http.ResponseWriter, c *gate.Call, op operation, info bucketInfo, id string) error {
	bypass, err := s.bypass(c, op, info)
	if err != nil {
		return err
	}
	was, err := s.store.unmake(op.bucket, op.key, id, bypass)
	if err != nil {
		return err
	}
	w.Header().Set("X-Amz-Request-Id", c.RequestID)
	w.Header().Set("X-Amz-Version-Id", id)
	if was.Deleted {
		w.Header().Set("X-Amz-Delete-Marker", "true")
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
