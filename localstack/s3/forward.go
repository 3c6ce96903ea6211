package s3

import (
	"bytes"
	"encoding/xml"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/stile-dev/stile/localstack/gate"
)

// kept is every request header that reaches the store, beside x-amz-meta-*: gofakes3 keeps all x-amz-
// headers with the object and gives them to every reader, so a session token must not get there.
var kept = []string{
	"Content-Type", "Content-Disposition", "Content-Encoding", "Content-Length", "Content-Md5",
	"If-Match", "If-None-Match", "If-Modified-Since", "Range",
	"X-Amz-Checksum-Crc32", "X-Amz-Checksum-Crc32c", "X-Amz-Checksum-Crc64nvme", "X-Amz-Checksum-Sha1", "X-Amz-Checksum-Sha256",
}

// forward hands the request to gofakes3 in path style, with only the headers that concern it.
func (s *Service) forward(w http.ResponseWriter, c *gate.Call, op operation, query url.Values) {
	r := c.HTTP.Clone(c.HTTP.Context())
	r.Header = http.Header{}
	for name, values := range c.HTTP.Header {
		if strings.HasPrefix(name, "X-Amz-Meta-") {
			r.Header[name] = values
		}
	}
	for _, name := range kept {
		if v, ok := c.HTTP.Header[name]; ok {
			r.Header[name] = v
		}
	}
	inner := url.Values{}
	for name, values := range query {
		if !strings.HasPrefix(strings.ToLower(name), "x-amz-") && name != "x-id" {
			inner[name] = values
		}
	}
	path := "/" + op.bucket
	if op.key != "" {
		path += "/" + op.key
	}
	r.URL = &url.URL{Path: path, RawQuery: inner.Encode()}
	r.Body = io.NopCloser(bytes.NewReader(c.Body))
	r.RequestURI = ""
	answer := &answerWriter{ResponseWriter: w, call: c, op: op}
	s.handler.ServeHTTP(answer, r)
	answer.WriteHeader(http.StatusOK) // of an answer without a body
}

// answerWriter puts our own ids into gofakes3's answer and removes what S3 would not say.
type answerWriter struct {
	http.ResponseWriter
	call  *gate.Call
	op    operation
	wrote bool
}

func (a *answerWriter) WriteHeader(status int) {
	if a.wrote {
		return
	}
	a.wrote = true
	h := a.Header()
	for name := range h {
		if strings.HasPrefix(name, "Access-Control-") {
			h.Del(name)
		}
	}
	h.Set("X-Amz-Request-Id", a.call.RequestID)
	asked := strings.EqualFold(a.call.HTTP.Header.Get("X-Amz-Checksum-Mode"), "ENABLED") && status == http.StatusOK
	for _, name := range kept {
		if !strings.HasPrefix(name, "X-Amz-Checksum-") {
			continue
		}
		if v := a.call.HTTP.Header.Get(name); v != "" && a.op.name == "PutObject" && status == http.StatusOK {
			h.Set(name, v)
		} else if !asked {
			h.Del(name)
		}
	}
	if status >= 300 && h.Get("Content-Type") == "" {
		h.Set("Content-Type", "application/xml")
	}
	a.ResponseWriter.WriteHeader(status)
}

func (a *answerWriter) Write(b []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.ResponseWriter.Write(b)
}

type deleteRequest struct {
	Object []struct {
		Key       string
		VersionID string `xml:"VersionId"`
		ETag      string
	}
	Quiet bool
}

type deleteResult struct {
	XMLName xml.Name       `xml:"http://s3.amazonaws.com/doc/2006-03-01/ DeleteResult"`
	Deleted []deletedKey   `xml:"Deleted"`
	Errors  []deletedError `xml:"Error"`
}

type deletedKey struct{ Key string }

type deletedError struct{ Key, Code, Message string }

// deleteObjects authorises each key by itself; what is refused is among the errors of a 200.
func (s *Service) deleteObjects(w http.ResponseWriter, c *gate.Call, op operation, info bucketInfo) error {
	if err := verifyChecksums(c.HTTP.Header, c.Body); err != nil {
		return err
	}
	var in deleteRequest
	if err := xml.Unmarshal(c.Body, &in); err != nil || len(in.Object) == 0 || len(in.Object) > 1000 {
		return &gate.Error{Code: "MalformedXML", Message: "The XML you provided was not well-formed or did not validate against our published schema"}
	}
	out := deleteResult{}
	for _, o := range in.Object {
		if o.VersionID != "" || o.ETag != "" {
			return notImplemented("deleting by version or ETag")
		}
		one := operation{name: "DeleteObject", action: "s3:DeleteObject", bucket: op.bucket, key: o.Key}
		if s.authorize(c, one, info) != nil {
			out.Errors = append(out.Errors, deletedError{o.Key, "AccessDenied", "Access Denied"})
			continue
		}
		if _, err := s.store.DeleteObject(op.bucket, o.Key); err != nil {
			return noSuchBucket(err)
		}
		if !in.Quiet {
			out.Deleted = append(out.Deleted, deletedKey{o.Key})
		}
	}
	gate.WriteXML(w, c, gate.RESTXML, http.StatusOK, out)
	return nil
}
