package bucket_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/bucket"
	"github.com/stile-dev/stile/pkg/fault"
)

// shelf is S3 with one bucket, whose objects are written once.
type shelf struct {
	objects map[string][]byte
	puts    int
	refuses bool // every PUT
	loses   bool // the answer to every PUT, which is carried out
	blind   bool // it can't be looked at
}

func (s *shelf) Do(r *http.Request) (*http.Response, error) {
	status, body, header := http.StatusOK, []byte(nil), http.Header{}
	content, found := s.objects[r.URL.Path]
	switch {
	case r.Method == http.MethodPut:
		s.puts++
		sent, err := io.ReadAll(r.Body)
		switch {
		case err != nil:
			return nil, err
		case r.Header.Get("If-None-Match") != "*":
			status = http.StatusForbidden
		case s.refuses:
			status = http.StatusForbidden
		case found:
			status, body = http.StatusPreconditionFailed, []byte(`<Error><Code>PreconditionFailed</Code></Error>`)
		default:
			s.objects[r.URL.Path] = sent
		}
		if s.loses {
			status = http.StatusForbidden
		}
	case s.blind:
		status = http.StatusForbidden
	case !found:
		status, body = http.StatusNotFound, []byte(`<Error><Code>NoSuchKey</Code></Error>`)
	default:
		sum := sha256.Sum256(content)
		header.Set("X-Amz-Checksum-Sha256", base64.StdEncoding.EncodeToString(sum[:]))
		header.Set("Content-Length", strconv.Itoa(len(content)))
		if body = content; r.Method == http.MethodHead {
			body = nil
		}
	}
	length := int64(len(body))
	if r.Method == http.MethodHead {
		length = int64(len(content))
	}
	return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(bytes.NewReader(body)), ContentLength: length, Request: r}, nil
}

func bodies(s *shelf) bucket.Bodies {
	return bucket.NewBodies(bucket.New(aws.Config{
		Region: "eu-central-1", Credentials: credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "secret", ""), HTTPClient: s,
		BaseEndpoint: aws.String("http://s3.example"),
	}, "lake"))
}

func TestWhatAnEventHasNoRoomForIsKeptUnderItsSumAndFoundByIt(t *testing.T) {
	s := &shelf{objects: map[string][]byte{}}
	b := bodies(s)
	text := strings.Repeat("é<\n", 9000)
	sum := audit.Sum(text)
	for range 2 { // a change may be tried again
		if err := b.Keep(t.Context(), text); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := b.Read(t.Context(), sum); err != nil || got != text || string(s.objects["/lake/bodies/"+sum]) != text || len(s.objects) != 1 {
		t.Errorf("%v: %d bytes of %d, %d objects", err, len(got), len(text), len(s.objects))
	}
	if _, err := b.Read(t.Context(), audit.Sum("another")); !fault.Is(err, fault.NotFound) {
		t.Error(err)
	}
	for _, odd := range []string{"", "../policy/1", strings.ToUpper(sum), sum + "/", sum[:63]} {
		if _, err := b.Read(t.Context(), odd); !fault.Is(err, fault.BadInput) {
			t.Errorf("%q: %v", odd, err)
		}
	}
	s.objects["/lake/bodies/"+sum] = []byte("replaced")
	if got, err := b.Read(t.Context(), sum); err == nil || got != "" {
		t.Errorf("what was replaced is %q", got)
	}
}

func TestSomethingElseUnderTheSumIsNotTakenForTheText(t *testing.T) {
	s := &shelf{objects: map[string][]byte{"/lake/bodies/" + audit.Sum("text"): []byte("tex!")}}
	if err := bodies(s).Keep(t.Context(), "text"); err == nil || fault.Is(err, fault.Unavailable) {
		t.Error(err)
	}
}

func TestATextIsKeptOnlyWhenItIsThere(t *testing.T) {
	if err := bodies(&shelf{objects: map[string][]byte{}, refuses: true}).Keep(t.Context(), "text"); !fault.Is(err, fault.Unavailable) {
		t.Errorf("refused: %v", err)
	}
	if err := bodies(&shelf{objects: map[string][]byte{}, blind: true}).Keep(t.Context(), "text"); !fault.Is(err, fault.Unavailable) {
		t.Errorf("nobody knows: %v", err)
	}
	if err := bodies(&shelf{objects: map[string][]byte{}, loses: true}).Keep(t.Context(), "text"); err != nil {
		t.Errorf("the answer was lost: %v", err)
	}
	s := &shelf{objects: map[string][]byte{}}
	if err := bodies(s).Keep(t.Context(), strings.Repeat("x", bucket.MaxBody+1)); !fault.Is(err, fault.TooLarge) || s.puts != 0 {
		t.Errorf("too large: %v, %d puts", err, s.puts)
	}
}
