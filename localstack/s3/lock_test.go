package s3_test

import (
	"bytes"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/stile-dev/stile/localstack/iam"
	"github.com/stile-dev/stile/localstack/resource"
)

// locking are the properties of a bucket with Object Lock and a default retention.
func locking(mode string, days int) map[string]any {
	return map[string]any{
		"VersioningConfiguration": map[string]any{"Status": "Enabled"},
		"ObjectLockConfiguration": map[string]any{
			"ObjectLockEnabled": "Enabled",
			"Rule":              map[string]any{"DefaultRetention": map[string]any{"Mode": mode, "Days": days}},
		},
	}
}

// ask signs a request with headers as one of the roles.
func (s *shelf) ask(t *testing.T, as, method, path, body string, headers map[string]string) (status int, h http.Header, answer string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(body))
	hash := hex.EncodeToString(sum[:])
	r.Header.Set("X-Amz-Content-Sha256", hash)
	for name, value := range headers {
		r.Header.Set(name, value)
	}
	signer := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
	if err := signer.SignHTTP(t.Context(), s.creds[as], r, hash, "s3", "us-east-1", time.Now()); err != nil {
		t.Fatal(err)
	}
	return do(t, r)
}

func do(t *testing.T, r *http.Request) (status int, h http.Header, answer string) {
	t.Helper()
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	raw, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, response.Header, string(raw)
}

func md5Of(body string) map[string]string {
	sum := md5.Sum([]byte(body))
	return map[string]string{"Content-MD5": base64.StdEncoding.EncodeToString(sum[:])}
}

func sha256Of(body string) string {
	sum := sha256.Sum256([]byte(body))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// role adds a role that may do some actions on everything.
func (s *shelf) role(t *testing.T, name string, actions ...string) {
	t.Helper()
	list, err := json.Marshal(actions)
	if err != nil {
		t.Fatal(err)
	}
	role, err := s.iam.PutRole(iam.Role{
		Name:   name,
		Trust:  json.RawMessage(`{"Statement":{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}}`),
		Inline: map[string]iam.Inline{"p": {Document: json.RawMessage(`{"Statement":{"Effect":"Allow","Action":` + string(list) + `,"Resource":"*"}}`)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	c, err := s.iam.Mint(role.ARN, "sess", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	creds := s.creds["all"]
	creds.AccessKeyID, creds.SecretAccessKey, creds.SessionToken = c.AccessKeyID, c.SecretAccessKey, c.SessionToken
	s.creds[name] = creds
}

// store writes an object and returns the path of its version.
func (s *shelf) store(t *testing.T, path, body string) string {
	t.Helper()
	status, h, answer := s.ask(t, "all", "PUT", path, body, md5Of(body))
	if status != http.StatusOK {
		t.Fatalf("%d %s", status, answer)
	}
	return path + "?versionId=" + h.Get("X-Amz-Version-Id")
}

// want asks and expects a status and, of a refusal, a code.
func (s *shelf) want(t *testing.T, what, as, method, path, body string, headers map[string]string, status int, code string) {
	t.Helper()
	got, _, answer := s.ask(t, as, method, path, body, headers)
	if got != status || !strings.Contains(answer, code) {
		t.Errorf("%s: %d %s, want %d %s", what, got, answer, status, code)
	}
}

var asking = map[string]string{"X-Amz-Bypass-Governance-Retention": "true"}

// retain asks for a retention of a version; digest is Content-MD5 of it and what else is given.
func retain(mode string, until time.Time, more map[string]string) (body string, headers map[string]string) {
	body = "<Retention><Mode>" + mode + "</Mode><RetainUntilDate>" + until.UTC().Format(time.RFC3339) + "</RetainUntilDate></Retention>"
	headers = md5Of(body)
	maps.Copy(headers, more)
	return body, headers
}

func TestAVersionUnderRetentionIsNotDeletedUntilItEnds(t *testing.T) {
	for _, mode := range []string{"GOVERNANCE", "COMPLIANCE"} {
		t.Run(mode, func(t *testing.T) {
			s := newShelf(t, t.TempDir())
			defer s.close(t)
			key := "/" + s.bucket(t, "Recordings", locking(mode, 2)) + "/k"
			version := s.store(t, key, "kept")
			s.want(t, "a deletion of the version", "all", "DELETE", version, "", nil, 403, "object protected by object lock")
			s.want(t, "a deletion of the key", "all", "DELETE", key, "", nil, 204, "")
			s.want(t, "a look behind the marker", "all", "GET", version, "", nil, 200, "kept")
			s.later = 47 * time.Hour
			s.want(t, "a deletion an hour before the end", "all", "DELETE", version, "", nil, 403, "AccessDenied")
			s.later = 49 * time.Hour
			s.want(t, "a deletion after the end", "all", "DELETE", version, "", nil, 204, "")
			s.want(t, "a look after that", "all", "GET", version, "", nil, 404, "NoSuchVersion")
		})
	}
}

func TestGovernanceIsBypassedByWhoMayAndAsks(t *testing.T) {
	s := newShelf(t, t.TempDir())
	defer s.close(t)
	s.role(t, "deleter", "s3:DeleteObject*")
	key := "/" + s.bucket(t, "Governed", locking("GOVERNANCE", 1)) + "/k"
	version := s.store(t, key, "x")
	s.want(t, "who may not", "deleter", "DELETE", version, "", asking, 403, "AccessDenied")
	s.want(t, "who doesn't ask", "all", "DELETE", version, "", map[string]string{"X-Amz-Bypass-Governance-Retention": "false"}, 403, "AccessDenied")
	s.want(t, "a word that is neither", "all", "DELETE", version, "", map[string]string{"X-Amz-Bypass-Governance-Retention": "yes"}, 400, "InvalidArgument")
	s.want(t, "who may and asks", "all", "DELETE", version, "", asking, 204, "")
	s.want(t, "a look after that", "all", "GET", key, "", nil, 404, "NoSuchKey")

	version = s.store(t, "/"+s.bucket(t, "Complied", locking("COMPLIANCE", 1))+"/k", "x")
	s.want(t, "compliance", "all", "DELETE", version, "", asking, 403, "AccessDenied")

	plain := "/" + s.bucket(t, "Plain", nil) + "/k"
	s.send(t, "all", "PUT", "", plain, "x")
	s.want(t, "a bucket without Object Lock", "all", "DELETE", plain+"?versionId=null", "", asking, 400, "InvalidArgument")
}

func TestALegalHoldHoldsUntilItIsTakenOff(t *testing.T) {
	s := newShelf(t, t.TempDir())
	defer s.close(t)
	properties := locking("GOVERNANCE", 1)
	delete(properties["ObjectLockConfiguration"].(map[string]any), "Rule")
	key := "/" + s.bucket(t, "Recordings", properties) + "/k"
	status, h, _ := s.ask(t, "all", "PUT", key, "x", nil) // nothing to retain it, so no digest is demanded
	if status != http.StatusOK {
		t.Fatal(status)
	}
	version := key + "?versionId=" + h.Get("X-Amz-Version-Id")
	s.role(t, "other", "s3:DeleteObject*", "s3:BypassGovernanceRetention", "s3:PutObject", "s3:GetObject*")
	on, off := "<LegalHold><Status>ON</Status></LegalHold>", "<LegalHold><Status>OFF</Status></LegalHold>"
	hold := version + "&legal-hold"
	s.want(t, "no hold yet", "all", "GET", hold, "", nil, 404, "NoSuchObjectLockConfiguration")
	s.want(t, "who may not", "other", "PUT", hold, on, md5Of(on), 403, "AccessDenied")
	s.want(t, "without a digest", "all", "PUT", hold, on, nil, 400, "InvalidRequest")
	s.want(t, "another digest", "all", "PUT", hold, on, md5Of(off), 400, "BadDigest")
	s.want(t, "no status", "all", "PUT", hold, "<LegalHold/>", md5Of("<LegalHold/>"), 400, "MalformedXML")
	s.want(t, "a hold", "all", "PUT", hold, on, md5Of(on), 200, "")
	s.want(t, "asked for", "all", "GET", key+"?legal-hold", "", nil, 200, "<Status>ON</Status>")
	s.want(t, "a deletion", "other", "DELETE", version, "", asking, 403, "AccessDenied")
	s.later = 100 * 24 * time.Hour
	s.want(t, "a deletion in a hundred days", "other", "DELETE", version, "", asking, 403, "AccessDenied")
	s.want(t, "the hold's end, by who may not", "other", "PUT", hold, off, md5Of(off), 403, "AccessDenied")
	s.want(t, "the hold's end", "all", "PUT", hold, off, md5Of(off), 200, "")
	s.want(t, "a deletion after it", "other", "DELETE", version, "", nil, 204, "")

	plain := "/" + s.bucket(t, "Plain", nil) + "/k"
	s.send(t, "all", "PUT", "", plain, "x")
	s.want(t, "a bucket without Object Lock", "all", "PUT", plain+"?legal-hold", on, md5Of(on), 400, "InvalidRequest")
	s.want(t, "a key that is none", "all", "PUT", key+"/none?legal-hold", on, md5Of(on), 404, "NoSuchKey")
	s.want(t, "a version that is none", "all", "PUT", key+"/none?legal-hold&versionId=v", on, md5Of(on), 404, "NoSuchVersion")
	_, h, _ = s.ask(t, "all", "DELETE", key, "", nil)
	s.want(t, "a delete marker", "all", "PUT", key+"?legal-hold&versionId="+h.Get("X-Amz-Version-Id"), on, md5Of(on), 405, "MethodNotAllowed")
}

func TestRetentionGetsLongerAndOnlyWithABypassShorter(t *testing.T) {
	day := 24 * time.Hour
	at := func(days int) time.Time { return time.Now().Add(time.Duration(days) * day) }
	for _, c := range []struct {
		name, was, becomes string
		days               int // of 10 that it has
		bypass             bool
		status             int
		code               string
	}{
		{"governance longer", "GOVERNANCE", "GOVERNANCE", 11, false, 200, ""},
		{"governance shorter", "GOVERNANCE", "GOVERNANCE", 9, false, 403, "AccessDenied"},
		{"governance shorter with a bypass", "GOVERNANCE", "GOVERNANCE", 9, true, 200, ""},
		{"governance to compliance", "GOVERNANCE", "COMPLIANCE", 11, false, 403, "AccessDenied"},
		{"governance to compliance with a bypass", "GOVERNANCE", "COMPLIANCE", 11, true, 200, ""},
		{"compliance longer", "COMPLIANCE", "COMPLIANCE", 11, false, 200, ""},
		{"compliance shorter", "COMPLIANCE", "COMPLIANCE", 9, true, 403, "AccessDenied"},
		{"compliance to governance", "COMPLIANCE", "GOVERNANCE", 11, true, 403, "AccessDenied"},
		{"into the past", "GOVERNANCE", "GOVERNANCE", -1, true, 400, "InvalidArgument"},
		{"beyond a hundred years", "GOVERNANCE", "GOVERNANCE", 37000, true, 400, "InvalidArgument"},
		{"no mode", "GOVERNANCE", "FOREVER", 11, true, 400, "MalformedXML"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newShelf(t, t.TempDir())
			defer s.close(t)
			version := s.store(t, "/"+s.bucket(t, "B", locking(c.was, 10))+"/k", "x")
			more := map[string]string{}
			if c.bypass {
				more = asking
			}
			body, headers := retain(c.becomes, at(c.days), more)
			s.want(t, "the change", "all", "PUT", version+"&retention", body, headers, c.status, c.code)
			mode, until := c.was, at(10)
			if c.status == http.StatusOK {
				mode, until = c.becomes, at(c.days)
			}
			s.want(t, "what it is then", "all", "GET", version+"&retention", "", nil, 200, "<Mode>"+mode+"</Mode><RetainUntilDate>"+until.UTC().Format("2006-01-02"))
		})
	}
}

func TestRetentionIsTakenOffByABypassAlone(t *testing.T) {
	s := newShelf(t, t.TempDir())
	defer s.close(t)
	version := s.store(t, "/"+s.bucket(t, "B", locking("GOVERNANCE", 10))+"/k", "x")
	headers := md5Of("<Retention/>")
	s.want(t, "without", "all", "PUT", version+"&retention", "<Retention/>", headers, 403, "AccessDenied")
	maps.Copy(headers, asking)
	s.role(t, "retainer", "s3:PutObjectRetention")
	s.want(t, "by who may not", "retainer", "PUT", version+"&retention", "<Retention/>", headers, 403, "AccessDenied")
	s.want(t, "with", "all", "PUT", version+"&retention", "<Retention/>", headers, 200, "")
	s.want(t, "what it is then", "all", "GET", version+"&retention", "", nil, 404, "NoSuchObjectLockConfiguration")
	s.want(t, "a deletion", "all", "DELETE", version, "", nil, 204, "")
}

func TestAReaderLearnsOfTheLockWhatHeMay(t *testing.T) {
	s := newShelf(t, t.TempDir())
	defer s.close(t)
	s.role(t, "reader", "s3:GetObject", "s3:GetObjectVersion")
	key := "/" + s.bucket(t, "B", locking("GOVERNANCE", 3)) + "/k"
	version := s.store(t, key, "x")
	on := "<LegalHold><Status>ON</Status></LegalHold>"
	s.want(t, "a hold", "all", "PUT", key+"?legal-hold", on, md5Of(on), 200, "")
	for _, method := range []string{"GET", "HEAD"} {
		for _, path := range []string{key, version} {
			_, h, _ := s.ask(t, "all", method, path, "", nil)
			until, err := time.Parse(time.RFC3339, h.Get("X-Amz-Object-Lock-Retain-Until-Date"))
			if left := time.Until(until); err != nil || left < 71*time.Hour || left > 72*time.Hour {
				t.Errorf("%s %s: retained for %v: %v", method, path, left, err)
			}
			if h.Get("X-Amz-Object-Lock-Mode") != "GOVERNANCE" || h.Get("X-Amz-Object-Lock-Legal-Hold") != "ON" {
				t.Errorf("%s %s: %v", method, path, h)
			}
			_, h, _ = s.ask(t, "reader", method, path, "", nil)
			for name := range h {
				if strings.HasPrefix(name, "X-Amz-Object-Lock-") {
					t.Errorf("%s %s tells %s to who may not ask", method, path, name)
				}
			}
		}
	}
}

// The API presigns uploads with the chunk's checksum among the signed headers; so they go on under retention.
func TestAWriteUnderRetentionSaysWhatItWrites(t *testing.T) {
	s := newShelf(t, t.TempDir())
	defer s.close(t)
	bucket := s.bucket(t, "Recordings", locking("COMPLIANCE", 1))
	presigned := func(key string, headers map[string]string) (int, string) {
		to := s.url + "/" + bucket + "/" + key + "?" + url.Values{"X-Amz-Expires": {"60"}}.Encode()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, to, bytes.NewReader([]byte("chunk")))
		if err != nil {
			t.Fatal(err)
		}
		for name, value := range headers {
			r.Header.Set(name, value)
		}
		signer := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableHeaderHoisting, o.DisableURIPathEscaping = true, true })
		signed, _, err := signer.PresignHTTP(t.Context(), s.creds["all"], r, "UNSIGNED-PAYLOAD", "s3", "us-east-1", time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if r.URL, err = url.Parse(signed); err != nil {
			t.Fatal(err)
		}
		status, _, answer := do(t, r)
		return status, answer
	}
	if status, answer := presigned("a", map[string]string{"If-None-Match": "*"}); status != http.StatusBadRequest || !strings.Contains(answer, "<Code>InvalidRequest</Code>") {
		t.Errorf("without a checksum: %d %s", status, answer)
	}
	if status, answer := presigned("a", map[string]string{"If-None-Match": "*", "X-Amz-Checksum-Sha256": sha256Of("other")}); status != http.StatusBadRequest || !strings.Contains(answer, "<Code>BadDigest</Code>") {
		t.Errorf("with the checksum of another: %d %s", status, answer)
	}
	if status, answer := presigned("a", map[string]string{"If-None-Match": "*", "X-Amz-Checksum-Sha256": sha256Of("chunk")}); status != http.StatusOK {
		t.Errorf("with its checksum: %d %s", status, answer)
	}
	s.want(t, "a hash in the signature alone", "all", "PUT", "/"+bucket+"/b", "x", nil, 400, "InvalidRequest")
	s.want(t, "a broken Content-MD5", "all", "PUT", "/"+bucket+"/b", "x", map[string]string{"Content-MD5": "x"}, 400, "InvalidDigest")
}

func TestTemplatesAskForAnObjectLockThatCanBe(t *testing.T) {
	s := newShelf(t, t.TempDir())
	defer s.close(t)
	bad := func(edit func(properties, lock, kept map[string]any)) map[string]any {
		p := locking("GOVERNANCE", 1)
		lock := p["ObjectLockConfiguration"].(map[string]any)
		edit(p, lock, lock["Rule"].(map[string]any)["DefaultRetention"].(map[string]any))
		return p
	}
	for want, properties := range map[string]map[string]any{
		"needs VersioningConfiguration":      bad(func(p, _, _ map[string]any) { delete(p, "VersioningConfiguration") }),
		"is neither GOVERNANCE":              bad(func(_, _, kept map[string]any) { kept["Mode"] = "governance" }),
		"one of Days and Years":              bad(func(_, _, kept map[string]any) { kept["Years"] = 1 }),
		"is not a whole number from 1 to 36": bad(func(_, _, kept map[string]any) { kept["Days"] = 36501 }),
		"is not a whole number from 1 to 10": bad(func(_, _, kept map[string]any) { kept["Years"] = 0; delete(kept, "Days") }),
		"is not Enabled":                     bad(func(_, lock, _ map[string]any) { lock["ObjectLockEnabled"] = "Disabled" }),
		"Token":                              bad(func(_, lock, _ map[string]any) { lock["Token"] = "x" }),
	} {
		_, err := s.s3.Provision(resource.Resource{Stack: "Data", LogicalID: "B", Begun: true, Type: "AWS::S3::Bucket", Properties: properties})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want …%s…", err, want)
		}
	}
}

func TestABucketGetsObjectLockLaterAndKeepsIt(t *testing.T) {
	s := newShelf(t, t.TempDir())
	defer s.close(t)
	versions := map[string]any{"VersioningConfiguration": map[string]any{"Status": "Enabled"}}
	bucket := s.bucket(t, "B", versions)
	before := s.store(t, "/"+bucket+"/before", "x")
	years := locking("COMPLIANCE", 1)
	years["ObjectLockConfiguration"].(map[string]any)["Rule"] = map[string]any{"DefaultRetention": map[string]any{"Mode": "COMPLIANCE", "Years": "2"}}
	if again := s.bucket(t, "B", years); again != bucket {
		t.Fatalf("it became %s", again)
	}
	after := s.store(t, "/"+bucket+"/after", "x")
	s.later = 729 * 24 * time.Hour
	s.want(t, "what was there before", "all", "DELETE", before, "", nil, 204, "")
	s.want(t, "what came after", "all", "DELETE", after, "", nil, 403, "AccessDenied")
	for name, properties := range map[string]map[string]any{"without lock": versions, "without versions": {"ObjectLockConfiguration": years["ObjectLockConfiguration"]}} {
		if _, err := s.s3.Provision(resource.Resource{Stack: "Data", LogicalID: "B", Begun: true, Type: "AWS::S3::Bucket", Properties: properties}); err == nil {
			t.Errorf("%s: the bucket took it", name)
		}
	}
}
