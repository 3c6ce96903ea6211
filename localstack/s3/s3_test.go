package s3_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/stile-dev/stile/localstack/gate"
	"github.com/stile-dev/stile/localstack/iam"
	"github.com/stile-dev/stile/localstack/resource"
	"github.com/stile-dev/stile/localstack/s3"
)

const account = "111122223333"

// shelf is an S3 with two roles: "all" may do everything, "none" nothing by its own policies.
type shelf struct {
	s3    *s3.Service
	iam   *iam.Authority
	url   string
	creds map[string]aws.Credentials
	told  []s3.Created
	later time.Duration // than now is what S3's clock says
}

func newShelf(t *testing.T, dir string) *shelf {
	t.Helper()
	a, err := iam.Open(iam.Config{Dir: filepath.Join(dir, "iam"), Account: account})
	if err != nil {
		t.Fatal(err)
	}
	s := &shelf{iam: a, creds: map[string]aws.Credentials{}}
	for name, action := range map[string]string{"all": "s3:*", "none": "sts:AssumeRole"} {
		role, err := a.PutRole(iam.Role{
			Name:   name,
			Trust:  json.RawMessage(`{"Statement":{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}}`),
			Inline: map[string]iam.Inline{"p": {Document: json.RawMessage(`{"Statement":{"Effect":"Allow","Action":"` + action + `","Resource":"*"}}`)}},
		})
		if err != nil {
			t.Fatal(err)
		}
		c, err := a.Mint(role.ARN, "sess", time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		s.creds[name] = aws.Credentials{AccessKeyID: c.AccessKeyID, SecretAccessKey: c.SecretAccessKey, SessionToken: c.SessionToken}
	}
	if s.s3, err = s3.Open(s3.Config{Dir: filepath.Join(dir, "s3"), Authority: a, OnCreated: func(e s3.Created) { s.told = append(s.told, e) }, Now: func() time.Time { return time.Now().Add(s.later) }}); err != nil {
		t.Fatal(err)
	}
	g, err := gate.New(gate.Config{Authority: a, Services: []gate.Service{s.s3}})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(g)
	s.url = server.URL
	t.Cleanup(server.Close)
	return s
}

func (s *shelf) close(t *testing.T) {
	t.Helper()
	for _, err := range []error{s.s3.Close(), s.iam.Close()} {
		if err != nil {
			t.Error(err)
		}
	}
}

func (s *shelf) bucket(t *testing.T, id string, properties map[string]any) string {
	t.Helper()
	out, err := s.s3.Provision(resource.Resource{Stack: "Data", LogicalID: id, Begun: true, Type: "AWS::S3::Bucket", Properties: properties})
	if err != nil {
		t.Fatal(err)
	}
	return out.Ref
}

// send signs a request as one of the roles; host is signed in place of the dialled one.
func (s *shelf) send(t *testing.T, as, method, host, path, body string) (status int, answer string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Host = host
	sum := sha256.Sum256([]byte(body))
	hash := hex.EncodeToString(sum[:])
	r.Header.Set("X-Amz-Content-Sha256", hash)
	signer := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
	if err := signer.SignHTTP(t.Context(), s.creds[as], r, hash, "s3", "us-east-1", time.Now()); err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	raw, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(raw)
}

func TestABucketInTheHostIsTheOneInThePath(t *testing.T) {
	s := newShelf(t, t.TempDir())
	defer s.close(t)
	bucket := s.bucket(t, "Recordings", nil)
	for _, host := range []string{bucket + ".s3.us-east-1.amazonaws.com", bucket + ".s3.amazonaws.com", bucket + ".localhost:9010"} {
		if status, answer := s.send(t, "all", "PUT", host, "/a/b", host); status != http.StatusOK {
			t.Fatalf("%s: %d %s", host, status, answer)
		}
		if status, answer := s.send(t, "all", "GET", "", "/"+bucket+"/a/b", ""); status != http.StatusOK || answer != host {
			t.Errorf("%s: %d %s", host, status, answer)
		}
	}
}

func TestObjectsOutliveARestart(t *testing.T) {
	dir := t.TempDir()
	s := newShelf(t, dir)
	bucket := s.bucket(t, "Recordings", map[string]any{"VersioningConfiguration": map[string]any{"Status": "Enabled"}})
	s.send(t, "all", "PUT", "", "/"+bucket+"/k", "kept")
	s.close(t)
	s = newShelf(t, dir)
	defer s.close(t)
	if again := s.bucket(t, "Recordings", map[string]any{"VersioningConfiguration": map[string]any{"Status": "Enabled"}}); again != bucket {
		t.Errorf("the bucket became %s", again)
	}
	if status, answer := s.send(t, "all", "GET", "", "/"+bucket+"/k", ""); status != http.StatusOK || answer != "kept" {
		t.Errorf("%d %s", status, answer)
	}
}

func TestABucketPolicyGivesAndTakes(t *testing.T) {
	s := newShelf(t, t.TempDir())
	defer s.close(t)
	bucket := s.bucket(t, "Documents", nil)
	arn := "arn:aws:s3:::" + bucket
	role := func(name string) map[string]any {
		return map[string]any{"AWS": "arn:aws:iam::" + account + ":role/" + name}
	}
	_, err := s.s3.Provision(resource.Resource{LogicalID: "P", Type: "AWS::S3::BucketPolicy", Properties: map[string]any{
		"Bucket": bucket, "PolicyDocument": map[string]any{"Version": "2012-10-17", "Statement": []any{
			map[string]any{"Effect": "Allow", "Principal": role("none"), "Action": "s3:GetObject", "Resource": arn + "/shared/*"},
			map[string]any{"Effect": "Deny", "Principal": role("all"), "Action": "s3:PutObject", "Resource": arn + "/closed/*"},
			map[string]any{"Effect": "Deny", "Principal": map[string]any{"AWS": "*"}, "Action": "s3:PutObject", "Resource": arn + "/once/*", "Condition": map[string]any{
				"Null": map[string]any{"s3:if-none-match": "true"}, "Bool": map[string]any{"s3:ObjectCreationOperation": "true"},
			}},
			map[string]any{"Effect": "Deny", "Principal": map[string]any{"AWS": "*"}, "Action": "s3:PutObject", "Resource": arn + "/parts/*", "Condition": map[string]any{
				"Bool": map[string]any{"s3:ObjectCreationOperation": "false"},
			}},
			map[string]any{"Effect": "Deny", "Principal": map[string]any{"AWS": "*"}, "Action": "s3:*", "Resource": []any{arn, arn + "/*"}, "Condition": map[string]any{"Bool": map[string]any{"aws:SecureTransport": "false"}}},
		}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		as, method, key string
		status          int
	}{
		{"all", "PUT", "shared/a", 200},
		{"all", "PUT", "own/a", 200},
		{"none", "GET", "shared/a", 200},
		{"none", "GET", "own/a", 403},
		{"none", "PUT", "shared/a", 403},
		{"none", "GET", "shared/missing", 403},
		{"all", "GET", "shared/missing", 404},
		{"all", "PUT", "closed/a", 403},
		{"all", "PUT", "once/a", 403},
		{"all", "PUT", "parts/a", 200},
		{"none", "DELETE", "shared/a", 403},
		{"all", "DELETE", "shared/a", 204},
		{"all", "GET", "shared/a", 404},
		{"all", "GET", "shared/a?acl", 501},
		{"all", "PUT", "shared/a?tagging", 501},
		{"all", "GET", "shared/a?surprise=1", 501},
	} {
		if status, answer := s.send(t, c.as, c.method, "", "/"+bucket+"/"+c.key, ""); status != c.status {
			t.Errorf("%s %s %s: %d, want %d: %s", c.as, c.method, c.key, status, c.status, answer)
		}
	}
}

func TestBucketsAreNotMadeByCalls(t *testing.T) {
	s := newShelf(t, t.TempDir())
	defer s.close(t)
	if status, answer := s.send(t, "all", "PUT", "", "/new-bucket", ""); status != http.StatusNotImplemented {
		t.Errorf("%d %s", status, answer)
	}
	if status, answer := s.send(t, "all", "GET", "", "/new-bucket/k", ""); status != http.StatusNotFound || !strings.Contains(answer, "NoSuchBucket") {
		t.Errorf("%d %s", status, answer)
	}
}

func TestTemplatesWithUnknownPropertiesAreRefused(t *testing.T) {
	s := newShelf(t, t.TempDir())
	defer s.close(t)
	for want, properties := range map[string]map[string]any{
		"Colour":                {"Colour": "red"},
		"is not a bucket name":  {"BucketName": "Has_Upper"},
		"ReplicationConfigurat": {"ReplicationConfiguration": map[string]any{}},
		"QueueConfigurations":   {"NotificationConfiguration": map[string]any{"QueueConfigurations": []any{}}},
	} {
		_, err := s.s3.Provision(resource.Resource{LogicalID: "B", Type: "AWS::S3::Bucket", Properties: properties})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want …%s…", err, want)
		}
	}
}
