package lend_test

import (
	"bytes"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/google/go-cmp/cmp"

	"github.com/stile-dev/stile/pkg/bucket/lend"
)

func TestAGrantSignsSizeHashAndThatNothingIsThere(t *testing.T) {
	b := lend.New(lend.Config{
		AWS:    aws.Config{Region: "eu-central-1", Credentials: credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "secret", "token")},
		Bucket: "recordings", Reader: "arn:aws:iam::111122223333:role/reader",
	})
	address, headers, err := b.Grant(t.Context(), "recordings/2026-11-27/ses_1/00000000.zst", 1234, bytes.Repeat([]byte{1}, 32))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"Content-Length": "1234", "If-None-Match": "*", "X-Amz-Checksum-Sha256": "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="}
	if d := cmp.Diff(want, headers); d != "" {
		t.Error(d)
	}
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	signed := ";" + u.Query().Get("X-Amz-SignedHeaders") + ";"
	for name := range want {
		if !strings.Contains(signed, ";"+strings.ToLower(name)+";") {
			t.Errorf("%s isn't among the signed headers %s", name, signed)
		}
	}
	if u.Query().Get("X-Amz-Expires") != "900" || u.Query().Get("X-Amz-Security-Token") != "token" || u.Query().Has("X-Amz-Checksum-Sha256") {
		t.Errorf("%s", address)
	}
}

// wire answers with an empty list and keeps what was asked.
type wire struct{ asked *url.URL }

func (w *wire) Do(r *http.Request) (*http.Response, error) {
	if w.asked == nil {
		w.asked = r.URL
	}
	body := `<ListVersionsResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"></ListVersionsResult>`
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

// clouds answer a list of one object and a session of the reader's role, whose policy is kept.
type clouds struct{ policy string }

func (c *clouds) Do(r *http.Request) (*http.Response, error) {
	body := `<ListVersionsResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Version><Key>recordings/2026-11-27/ses_1/00000000.zst</Key><VersionId>v1</VersionId></Version></ListVersionsResult>`
	if strings.HasPrefix(r.URL.Host, "sts.") {
		if err := r.ParseForm(); err != nil {
			return nil, err
		}
		c.policy = r.PostForm.Get("Policy")
		body = `<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials><AccessKeyId>AKIDREADER</AccessKeyId>` +
			`<SecretAccessKey>s</SecretAccessKey><SessionToken>narrow</SessionToken><Expiration>2026-11-27T10:00:00Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>`
	}
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

func TestURLsAreSignedInASessionThatMayReadOneRecordingAlone(t *testing.T) {
	w := &clouds{}
	b := lend.New(lend.Config{
		AWS:    aws.Config{Region: "eu-central-1", Credentials: credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "secret", "token"), HTTPClient: w},
		Bucket: "recordings", Reader: "arn:aws:iam::111122223333:role/reader",
	})
	objects, next, err := b.Read(t.Context(), "recordings/2026-11-27/ses_1/", "")
	if err != nil || len(objects) != 1 || next != "" {
		t.Fatal(objects, next, err)
	}
	want := `{"Statement":[{"Action":"s3:GetObjectVersion","Effect":"Allow","Resource":"arn:aws:s3:::recordings/recordings/2026-11-27/ses_1/*"}],"Version":"2012-10-17"}`
	if d := cmp.Diff(want, w.policy); d != "" {
		t.Error(d)
	}
	u, err := url.Parse(objects[0].URL)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	if !strings.HasPrefix(q.Get("X-Amz-Credential"), "AKIDREADER/") || q.Get("X-Amz-Security-Token") != "narrow" || q.Get("X-Amz-Expires") != "900" || q.Get("versionId") != "v1" {
		t.Error(u)
	}
}

func TestAListGoesOnAfterANameWithASpace(t *testing.T) {
	w := &wire{}
	b := lend.New(lend.Config{
		AWS:    aws.Config{Region: "eu-central-1", Credentials: credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "secret", "token"), HTTPClient: w},
		Bucket: "recordings", Reader: "arn:aws:iam::111122223333:role/reader",
	})
	_, _, _ = b.Read(t.Context(), "recordings/d/s/", "a stranger's object v1") // nobody takes the reader's role here
	if q := w.asked.Query(); q.Get("key-marker") != "recordings/d/s/a stranger's object" || q.Get("version-id-marker") != "v1" {
		t.Error(w.asked)
	}
}
