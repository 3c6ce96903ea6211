package s3_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stile-dev/stile/localstack/iam"
	"github.com/stile-dev/stile/localstack/resource"
	"github.com/stile-dev/stile/localstack/s3"
)

func TestAnotherServiceReadsWhatItsPrincipalMay(t *testing.T) {
	a, err := iam.Open(iam.Config{Dir: t.TempDir(), Account: "111122223333"})
	if err != nil {
		t.Fatal(err)
	}
	s, err := s3.Open(s3.Config{Dir: t.TempDir(), Authority: a})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(s.Close(), a.Close()); err != nil {
			t.Error(err)
		}
	})
	if _, err := s.Provision(resource.Resource{LogicalID: "Bucket", Type: "AWS::S3::Bucket", Properties: map[string]any{"BucketName": "lake"}}); err != nil {
		t.Fatal(err)
	}
	who := func(action, on string) *iam.Principal {
		role, err := a.PutRole(iam.Role{
			Name:   "reader",
			Trust:  json.RawMessage(`{"Statement":{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}}`),
			Inline: map[string]iam.Inline{"p": {Document: json.RawMessage(`{"Statement":[{"Effect":"Allow","Action":"` + action + `","Resource":"` + on + `"}]}`)}},
		})
		if err != nil {
			t.Fatal(err)
		}
		c, err := a.Mint(role.ARN, "one", time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		_, p, err := a.Lookup(c.AccessKeyID)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	for _, key := range []string{"a/1", "a/2", "b/1"} {
		if err := s.Put(who("s3:*", "*"), "lake", key, []byte("of "+key)); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(t.TempDir(), "copy")
	calls := map[string]func(p *iam.Principal, bucket string) (string, error){
		"s3:GetBucketLocation": func(p *iam.Principal, bucket string) (string, error) { return "", s.Locate(p, bucket) },
		"s3:ListBucket": func(p *iam.Principal, bucket string) (string, error) {
			list, err := s.List(p, bucket, "a/", 2)
			return fmt.Sprint(list), err
		},
		"s3:GetObject": func(p *iam.Principal, bucket string) (string, error) {
			raw, err := s.Read(p, bucket, "a/1", 6)
			if err == nil {
				_ = os.Remove(file)
				err = s.Copy(p, bucket, "a/1", file)
			}
			return string(raw), err
		},
	}
	for action, want := range map[string]string{"s3:GetBucketLocation": "", "s3:ListBucket": "[{a/1 6} {a/2 6}]", "s3:GetObject": "of a/1"} {
		if got, err := calls[action](who(action, "*"), "lake"); err != nil || got != want {
			t.Errorf("%s: %q %v, want %q", action, got, err, want)
		}
		if got, err := calls[action](who("s3:PutObject", "*"), "lake"); !errors.Is(err, s3.ErrDenied) || got != "" && got != "[]" {
			t.Errorf("without %s: %q %v", action, got, err)
		}
		if _, err := calls[action](who(action, "*"), "gone"); err == nil || errors.Is(err, s3.ErrDenied) {
			t.Errorf("%s of no bucket: %v", action, err)
		}
	}
	if raw, err := os.ReadFile(file); err != nil || string(raw) != "of a/1" {
		t.Errorf("the copy is %q %v", raw, err)
	}
	if err := s.Copy(who("s3:PutObject", "*"), "lake", "a/1", file+"2"); !errors.Is(err, s3.ErrDenied) {
		t.Errorf("copied without the right: %v", err)
	}
	all := who("s3:*", "*")
	if err := s.Copy(all, "lake", "a/1", file); err == nil {
		t.Error("a file that is there was overwritten")
	}
	if _, err := s.List(all, "lake", "a/", 1); err == nil || !strings.Contains(err.Error(), "more than 1 objects") {
		t.Errorf("more than there may be: %v", err)
	}
	if _, err := s.Read(all, "lake", "a/1", 5); err == nil || !strings.Contains(err.Error(), "larger than 5 bytes") {
		t.Errorf("a larger object: %v", err)
	}
}
