package stock_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/cfn"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"

	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/stock"
)

// buckets are objects by bucket/key, into which a name is written once.
type buckets map[string][]byte

func (b buckets) GetObject(_ context.Context, in *s3.GetObjectInput, _ ...func(*s3.Options)) (*s3.GetObjectOutput, error) {
	content, ok := b[*in.Bucket+"/"+*in.Key]
	if !ok {
		return nil, &smithy.GenericAPIError{Code: "NoSuchKey"}
	}
	return &s3.GetObjectOutput{Body: io.NopCloser(bytes.NewReader(content))}, nil
}

func (b buckets) PutObject(_ context.Context, in *s3.PutObjectInput, _ ...func(*s3.Options)) (*s3.PutObjectOutput, error) {
	name := *in.Bucket + "/" + *in.Key
	if aws.ToString(in.IfNoneMatch) != "*" { // as the bucket's policy has it
		return nil, &smithy.GenericAPIError{Code: "AccessDenied"}
	}
	if _, taken := b[name]; taken {
		codes := []string{"PreconditionFailed", "ConditionalRequestConflict"} // the latter while another is writing it
		return nil, &smithy.GenericAPIError{Code: codes[len(b)%2]}
	}
	content, err := io.ReadAll(in.Body)
	b[name] = content
	return &s3.PutObjectOutput{}, err
}

const program = "an agent"

func digest(content string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(content))) }

// keep has the program of an order kept, of which change makes another one.
func keep(t *testing.T, b buckets, change map[string]any) (map[string]any, error) {
	t.Helper()
	properties := map[string]any{"Bucket": "assets", "Key": "stile/abc", "Sha256": digest(program), "Name": "stile-agent-linux-arm64"}
	maps.Copy(properties, change)
	return stock.NewKeeper(b, "documents", slog.New(slog.DiscardHandler)).Answer(t.Context(), cfn.Event{RequestType: cfn.RequestCreate, ResourceProperties: properties})
}

func TestAProgramIsKeptUnderItsDigest(t *testing.T) {
	want := "agent/" + digest(program) + "/stile-agent-linux-arm64"
	for _, b := range []buckets{{"assets/stile/abc": []byte(program)}, {"assets/stile/abc": []byte(program), "assets/other": nil}} {
		for range 2 { // the second time, it is there
			data, err := keep(t, b, nil)
			if err != nil || data["Key"] != want || string(b["documents/"+want]) != program {
				t.Errorf("%v, %v: %v", data, err, b)
			}
		}
	}
}

func TestSec_S95_NothingButTheProgramThatWasBuiltIsKept(t *testing.T) {
	key := "documents/agent/" + digest(program) + "/stile-agent-linux-arm64"
	for name, c := range map[string]struct {
		b      buckets
		change map[string]any
		says   string
	}{
		"another was uploaded":       {buckets{"assets/stile/abc": []byte("another")}, nil, "is not the one that was built"},
		"another has its key":        {buckets{"assets/stile/abc": []byte(program), key: []byte("another")}, nil, "is not the one that was built"},
		"one that is too large":      {buckets{"assets/stile/abc": make([]byte, 64<<20+1)}, nil, "more than 67108864 bytes"},
		"one without a digest":       {buckets{"assets/stile/abc": []byte(program)}, map[string]any{"Sha256": ""}, "Sha256 is missing"},
		"a name that is a path":      {buckets{"assets/stile/abc": []byte(program)}, map[string]any{"Name": "../../trust/1-000000000002.json"}, "can't be the name"},
		"a name that is no text":     {buckets{"assets/stile/abc": []byte(program)}, map[string]any{"Name": 7}, "Name is missing"},
		"one that isn't there":       {buckets{}, nil, "NoSuchKey"},
		"a digest of capital digits": {buckets{"assets/stile/abc": []byte(program)}, map[string]any{"Sha256": strings.ToUpper(digest(program))}, "is not the one that was built"},
	} {
		before := len(c.b)
		if data, err := keep(t, c.b, c.change); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, %v", name, data, err)
		}
		if len(c.b) != before {
			t.Errorf("%s: something was stored", name)
		}
	}
}

func TestAURLIsSignedForEachArchitecture(t *testing.T) {
	client := s3.NewFromConfig(aws.Config{Region: "eu-central-1", Credentials: credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "secret", "")})
	now := time.Date(2026, 11, 27, 8, 0, 0, 5, time.UTC)
	sum := digest(program)
	list, err := stock.NewShelf(client, "documents", "agent/"+sum+"/stile-agent-linux-arm64", "agent/"+sum+"/stile-agent-linux-amd64").Binaries(t.Context(), now)
	if err != nil || len(list.Items) != 2 {
		t.Fatalf("%+v, %v", list, err)
	}
	for i, arch := range []string{"amd64", "arm64"} {
		b := list.Items[i]
		if b.Arch != arch || b.Sha256 != sum || !b.ExpiresAt.Equal(time.Date(2026, 11, 27, 9, 0, 0, 0, time.UTC)) {
			t.Errorf("%+v", b)
		}
		for _, part := range []string{"https://documents.s3.eu-central-1.amazonaws.com/agent/" + sum + "/stile-agent-linux-" + arch + "?", "X-Amz-Expires=3600", "X-Amz-Signature="} {
			if !strings.Contains(b.URL, part) {
				t.Errorf("%s lacks %s", b.URL, part)
			}
		}
	}
	for _, key := range []string{"", "policy/" + sum + ".json", "agent/" + sum + "/other", "agent/abc/stile-agent-linux-arm64"} {
		_, err := stock.NewShelf(client, "documents", key).Binaries(t.Context(), now)
		if f := fault.From(err); f == nil || f.Code != fault.Internal {
			t.Errorf("%q: %v", key, err)
		}
	}
}
