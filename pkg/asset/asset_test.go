package asset_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/stile-dev/stile/pkg/asset"
)

// object is what any key of any bucket has.
type object struct{ io.Reader }

func (o object) GetObject(context.Context, *s3.GetObjectInput, ...func(*s3.Options)) (*s3.GetObjectOutput, error) {
	if o.Reader == nil {
		return nil, errors.New("there is nothing")
	}
	return &s3.GetObjectOutput{Body: io.NopCloser(o.Reader)}, nil
}

func TestAFileIsTakenOnlyIfItIsTheOneThatWasBuilt(t *testing.T) {
	const content = "a program"
	f := asset.File{Bucket: "assets", Key: "stile/abc", SHA256: fmt.Sprintf("%x", sha256.Sum256([]byte(content)))}
	endless := &neverEnds{}
	for name, c := range map[string]struct {
		content io.Reader
		says    string // "" when it is taken
	}{
		"the one":           {strings.NewReader(content), ""},
		"another":           {strings.NewReader("A program"), "the template says " + f.SHA256},
		"a byte less":       {strings.NewReader(content[1:]), "is not the one that was built"},
		"one that is large": {endless, "more than 10 bytes"},
		"one that breaks":   {iotest.ErrReader(errors.New("it broke")), "s3://assets/stile/abc: it broke"},
		"none":              {nil, "s3://assets/stile/abc: there is nothing"},
	} {
		got, err := asset.Fetch(t.Context(), object{c.content}, f, 10)
		if c.says == "" {
			if err != nil || !bytes.Equal(got, []byte(content)) {
				t.Errorf("%s: %q, %v", name, got, err)
			}
			continue
		}
		if err == nil || got != nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if endless.read != 11 {
		t.Errorf("%d bytes were read of a file without an end", endless.read)
	}
}

// neverEnds counts what was read of it.
type neverEnds struct{ read int }

func (n *neverEnds) Read(b []byte) (int, error) {
	n.read += len(b)
	return len(b), nil
}
