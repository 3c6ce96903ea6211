package s3

import (
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/stile-dev/stile/localstack/gate"
	"github.com/stile-dev/stile/localstack/resource"
)

// Object Lock: a version in a bucket that has it may be under retention until a time, under a legal hold, or both, and
// can't be deleted meanwhile. Keys with locked versions still take new versions and delete markers.

// Modes of retention.
const (
	governance = "GOVERNANCE" // lifted or shortened only with s3:BypassGovernanceRetention and a header that asks for it
	compliance = "COMPLIANCE" // lifted or shortened by nobody
)

// lockRule is a bucket's Object Lock: what a new version gets.
type lockRule struct {
	Mode  string `json:",omitempty"` // "" for no retention
	Days  int    `json:",omitempty"` // these or Years
	Years int    `json:",omitempty"`
}

// retention is what a version is under; Mode is "" if nothing.
type retention struct {
	Mode  string    `json:",omitempty"`
	Until time.Time `json:",omitzero"`
}

// maxDays and maxYears are S3's own bounds.
const (
	maxDays  = 36500
	maxYears = 100
)

// readLock reads ObjectLockConfiguration, by which CloudFormation gives Object Lock to a new bucket or one that exists;
// nil is none.
func readLock(in *resource.Reader, at string) *lockRule {
	const name = "ObjectLockConfiguration"
	if !in.Has(name) {
		return nil
	}
	at += "." + name
	outer := resource.ReadObject(at, in.Object(name))
	if on := outer.Required("ObjectLockEnabled"); on != "" && on != "Enabled" {
		outer.Fail("ObjectLockEnabled", "%q is not Enabled", on)
	}
	lock := &lockRule{}
	if outer.Has("Rule") {
		rule := resource.ReadObject(at+".Rule", outer.Object("Rule"))
		kept := resource.ReadObject(at+".Rule.DefaultRetention", rule.Object("DefaultRetention"))
		lock.Mode = kept.Required("Mode")
		lock.Days, lock.Years = period(kept, "Days", maxDays), period(kept, "Years", maxYears)
		if lock.Mode != governance && lock.Mode != compliance {
			kept.Fail("Mode", "%q is neither %s nor %s", lock.Mode, governance, compliance)
		}
		if kept.Has("Days") == kept.Has("Years") {
			kept.Fail("Days", "one of Days and Years is needed, and not both")
		}
		in.Add(errors.Join(rule.Done(), kept.Done()))
	}
	in.Add(outer.Done())
	return lock
}

func period(in *resource.Reader, name string, most int) int {
	if !in.Has(name) {
		return 0
	}
	n, err := strconv.Atoi(in.String(name))
	if err != nil || n < 1 || n > most {
		in.Fail(name, "it is not a whole number from 1 to %d", most)
	}
	return n
}

// relock says why a bucket can't go from one Object Lock and versioning to another.
func relock(was bucketInfo, lock *lockRule, versioned bool) error {
	switch {
	case lock != nil && !versioned:
		return errors.New("ObjectLockConfiguration: Object Lock needs VersioningConfiguration with Status Enabled")
	case lock == nil && was.Lock != nil:
		return errors.New("ObjectLockConfiguration: a bucket can't be without Object Lock again; leave out Rule for no retention")
	}
	return nil
}

// begin is the retention of a version that is written now.
func (l *lockRule) begin(now time.Time) retention {
	if l == nil || l.Mode == "" {
		return retention{}
	}
	return retention{Mode: l.Mode, Until: now.UTC().AddDate(l.Years, 0, l.Days)}
}

// demandsDigest reports whether a write must say what it writes.
func (l *lockRule) demandsDigest() bool { return l != nil && l.Mode != "" }

// hasDigest reports whether a request says what it writes, in a header or in a trailer, which the gate has made one.
func hasDigest(h http.Header) bool {
	for name := range checksums {
		if h.Get(name) != "" {
			return true
		}
	}
	return false
}

// active reports whether retention still holds.
func (r retention) active(now time.Time) bool { return r.Mode != "" && now.Before(r.Until) }

// removable says why a version can't be deleted.
func (o object) removable(now time.Time, bypass bool) error {
	if o.Hold == holdOn || o.Retention.active(now) && (o.Retention.Mode == compliance || !bypass) {
		return locked()
	}
	return nil
}

// become says why a version's retention can't become another.
func (r retention) become(next retention, now time.Time, bypass bool) error {
	switch {
	case !r.active(now):
	case next.Mode == r.Mode && !next.Until.Before(r.Until):
	case r.Mode == governance && bypass:
	default:
		return locked()
	}
	return nil
}

func locked() error {
	return &gate.Error{Code: "AccessDenied", Status: http.StatusForbidden, Message: "Access Denied because object protected by object lock."}
}

// bypass reports whether a request asks to bypass governance, which takes a permission of its own, be it needed or not.
func (s *Service) bypass(c *gate.Call, op operation, info bucketInfo) (bool, error) {
	switch text := c.HTTP.Header.Get("X-Amz-Bypass-Governance-Retention"); text {
	case "", "false":
		return false, nil
	case "true":
	default:
		return false, &gate.Error{Code: "InvalidArgument", Message: "x-amz-bypass-governance-retention is neither true nor false"}
	}
	if info.Lock == nil {
		return false, &gate.Error{Code: "InvalidArgument", Message: "x-amz-bypass-governance-retention is only applicable to Object Lock enabled buckets."}
	}
	op.action = "s3:BypassGovernanceRetention"
	return true, s.authorize(c, op, info)
}

type retentionXML struct {
	XMLName         xml.Name `xml:"Retention"`
	Namespace       string   `xml:"xmlns,attr,omitempty"`
	Mode            string   `xml:"Mode,omitempty"`
	RetainUntilDate string   `xml:"RetainUntilDate,omitempty"`
}

type holdXML struct {
	XMLName   xml.Name `xml:"LegalHold"`
	Namespace string   `xml:"xmlns,attr,omitempty"`
	Status    string
}

const (
	holdOn  = "ON"
	holdOff = "OFF"

	namespace = "http://s3.amazonaws.com/doc/2006-03-01/"
)

var lockOperations = []string{"GetObjectRetention", "PutObjectRetention", "GetObjectLegalHold", "PutObjectLegalHold"}

// lock answers the operations on a version's retention and legal hold.
func (s *Service) lock(w http.ResponseWriter, c *gate.Call, op operation, info bucketInfo, version string) error {
	if info.Lock == nil {
		return &gate.Error{Code: "InvalidRequest", Message: "Bucket is missing Object Lock Configuration"}
	}
	switch op.name {
	case "GetObjectRetention", "GetObjectLegalHold":
		return s.showLock(w, c, op, version)
	}
	change, err := s.lockChange(c, op, info)
	if err != nil {
		return err
	}
	if err := s.store.relock(op.bucket, op.key, version, change); err != nil {
		return err
	}
	w.Header().Set("X-Amz-Request-Id", c.RequestID)
	w.WriteHeader(http.StatusOK)
	return nil
}

func (s *Service) showLock(w http.ResponseWriter, c *gate.Call, op operation, version string) error {
	o, err := s.store.one(op.bucket, op.key, version)
	if err != nil {
		return err
	}
	var out any = holdXML{Namespace: namespace, Status: o.Hold}
	none := o.Hold == ""
	if op.name == "GetObjectRetention" {
		out, none = retentionXML{Namespace: namespace, Mode: o.Retention.Mode, RetainUntilDate: instant(o.Retention.Until)}, o.Retention.Mode == ""
	}
	if none {
		return &gate.Error{Code: "NoSuchObjectLockConfiguration", Status: http.StatusNotFound, Message: "The specified object does not have a ObjectLock configuration"}
	}
	gate.WriteXML(w, c, gate.RESTXML, http.StatusOK, out)
	return nil
}

// lockChange reads what a request makes of a version's lock. It refuses a body whose digest isn't the one said, or none.
func (s *Service) lockChange(c *gate.Call, op operation, info bucketInfo) (func(*object) error, error) {
	if !hasDigest(c.HTTP.Header) {
		return nil, noDigest(op.name)
	}
	if err := verifyChecksums(c.HTTP.Header, c.Body); err != nil {
		return nil, err
	}
	malformed := &gate.Error{Code: "MalformedXML", Message: "The XML you provided was not well-formed or did not validate against our published schema"}
	if op.name == "PutObjectLegalHold" {
		var in holdXML
		if err := xml.Unmarshal(c.Body, &in); err != nil || in.Status != holdOn && in.Status != holdOff {
			return nil, malformed
		}
		return func(o *object) error {
			o.Hold = in.Status
			return nil
		}, nil
	}
	bypass, err := s.bypass(c, op, info)
	if err != nil {
		return nil, err
	}
	var in retentionXML
	if err := xml.Unmarshal(c.Body, &in); err != nil {
		return nil, malformed
	}
	now := s.config.Now()
	next := retention{Mode: in.Mode}
	if in.Mode != "" || in.RetainUntilDate != "" { // neither takes retention off
		until, err := time.Parse(time.RFC3339, in.RetainUntilDate)
		switch {
		case err != nil, in.Mode != governance && in.Mode != compliance:
			return nil, malformed
		case !until.After(now):
			return nil, &gate.Error{Code: "InvalidArgument", Message: "The retain until date must be in the future!"}
		case until.After(now.AddDate(maxYears, 0, 0)):
			return nil, &gate.Error{Code: "InvalidArgument", Message: fmt.Sprintf("The retain until date must be within %d years", maxYears)}
		}
		next.Until = until.UTC()
	}
	return func(o *object) error {
		err := o.Retention.become(next, now, bypass)
		if err == nil {
			o.Retention = next
		}
		return err
	}, nil
}

func noDigest(what string) error {
	return &gate.Error{
		Code: "InvalidRequest", Status: http.StatusBadRequest,
		Message: "Content-MD5 OR x-amz-checksum- HTTP header is required for " + what + " requests with Object Lock parameters",
	}
}

// tellLock puts what a caller may know of a version's lock into the headers of an answer.
func (s *Service) tellLock(w http.ResponseWriter, c *gate.Call, op operation, info bucketInfo, o object) {
	may := func(action string) bool {
		op.action = action
		return s.authorize(c, op, info) == nil
	}
	h := w.Header()
	if o.Retention.Mode != "" && may("s3:GetObjectRetention") {
		h.Set("X-Amz-Object-Lock-Mode", o.Retention.Mode)
		h.Set("X-Amz-Object-Lock-Retain-Until-Date", instant(o.Retention.Until))
	}
	if o.Hold != "" && may("s3:GetObjectLegalHold") {
		h.Set("X-Amz-Object-Lock-Legal-Hold", o.Hold)
	}
}

func instant(t time.Time) string { return t.Format("2006-01-02T15:04:05.000Z") }
