package registry_test

import (
	"bytes"
	"context"
	"debug/elf"
	"encoding/binary"
	"io"
	"log/slog"
	"strings"
	"testing"

	"github.com/aws/aws-lambda-go/cfn"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"

	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/image"
	"github.com/stile-dev/stile/pkg/registry"
)

// program makes an executable for arm64 of a size, which compresses badly, as a program's code does.
func program(size int) []byte {
	h := elf.Header64{Type: uint16(elf.ET_EXEC), Machine: uint16(elf.EM_AARCH64), Version: 1, Ehsize: 64, Phentsize: 56, Shentsize: 64}
	copy(h.Ident[:], "\x7fELF\x02\x01\x01")
	var b bytes.Buffer
	_ = binary.Write(&b, binary.LittleEndian, h)
	for x := uint64(1); b.Len() < size; x ^= x << 17 {
		x ^= x << 13
		x ^= x >> 7
		_ = binary.Write(&b, binary.LittleEndian, x)
	}
	return b.Bytes()
}

// store is an object store of one object.
type store struct {
	content []byte
	denied  int // so many times, before it answers
	asked   *s3.GetObjectInput
}

func (s *store) GetObject(_ context.Context, in *s3.GetObjectInput, _ ...func(*s3.Options)) (*s3.GetObjectOutput, error) {
	if s.denied--; s.denied >= 0 {
		return nil, &smithy.GenericAPIError{Code: "AccessDenied", Message: "not yet"}
	}
	s.asked = in
	return &s3.GetObjectOutput{Body: io.NopCloser(bytes.NewReader(s.content))}, nil
}

func event(request cfn.RequestType) cfn.Event {
	return cfn.Event{RequestType: request, LogicalResourceID: "Image", PhysicalResourceID: "as-before", ResourceProperties: map[string]any{
		"Bucket": "assets", "Key": "stile/abc", "Repository": "stile-proxy", "RepositoryUri": "registry.example/stile-proxy", "Architecture": "arm64",
	}}
}

func answer(ctx context.Context, r *repository, s *store, e cfn.Event) (map[string]any, error) {
	if _, told := e.ResourceProperties["Sha256"]; !told { // by a deployment that built what the store holds
		e.ResourceProperties["Sha256"] = strings.TrimPrefix(digest(s.content), "sha256:")
	}
	return registry.New(registry.Config{ECR: r, S3: s, Log: slog.New(slog.DiscardHandler)}).Answer(ctx, e)
}

func TestTheImageIsPushedAndNamedByItsDigest(t *testing.T) {
	r, s := newRepository(), &store{content: program(22 << 20)}
	data, err := answer(t.Context(), r, s, event(cfn.RequestCreate))
	want, buildErr := image.Build(s.content, "arm64")
	if err != nil || buildErr != nil {
		t.Fatal(err, buildErr)
	}
	if *s.asked.Bucket != "assets" || *s.asked.Key != "stile/abc" {
		t.Errorf("read %s from %s", *s.asked.Key, *s.asked.Bucket)
	}
	if diff := cmp.Diff(map[string]any{"Uri": "registry.example/stile-proxy@" + want.Digest()}, data); diff != "" {
		t.Error(diff)
	}
	for _, b := range []image.Blob{want.Layer, want.Config} {
		if !bytes.Equal(r.blobs[b.Digest], b.Content) {
			t.Errorf("%s is not stored as it was built", b.Digest)
		}
	}
	stored := r.images[want.Digest()]
	if stored.manifest != string(want.Manifest.Content) || stored.tag != "sha256-"+strings.TrimPrefix(want.Digest(), "sha256:") {
		t.Errorf("stored %+v", stored)
	}
	if len(r.parts) < 4 { // 22 MiB and the configuration
		t.Errorf("parts %v", r.parts)
	}

	// The same again pushes nothing, whatever CloudFormation calls it.
	before := r.calls["UploadLayerPart"] + r.calls["PutImage"]
	for _, request := range []cfn.RequestType{cfn.RequestUpdate, cfn.RequestCreate} {
		data, err := answer(t.Context(), r, s, event(request))
		if err != nil || data["Uri"] != "registry.example/stile-proxy@"+want.Digest() {
			t.Errorf("%s: %v, %v", request, data, err)
		}
	}
	if after := r.calls["UploadLayerPart"] + r.calls["PutImage"]; after != before {
		t.Errorf("%d calls that write, and %d after repetitions", before, after)
	}
}

func TestAnUpdateAddsAnImageAndDeletesNone(t *testing.T) {
	r := newRepository()
	for _, size := range []int{1 << 10, 2 << 10} {
		if _, err := answer(t.Context(), r, &store{content: program(size)}, event(cfn.RequestUpdate)); err != nil {
			t.Fatal(err)
		}
	}
	if len(r.images) != 2 {
		t.Errorf("%d images", len(r.images))
	}
}

func TestWhatAnEarlierTryLeftIsUsed(t *testing.T) {
	content := program(1 << 10)
	want, err := image.Build(content, "arm64")
	if err != nil {
		t.Fatal(err)
	}
	for name, prepare := range map[string]func(*repository){
		"its layer is there": func(r *repository) { r.blobs[want.Layer.Digest] = want.Layer.Content },
		"its layer came meanwhile": func(r *repository) {
			r.fail["CompleteLayerUpload"] = []error{&types.LayerAlreadyExistsException{}}
			r.blobs[want.Layer.Digest] = want.Layer.Content
			r.hideLayers = true
		},
		"the image came meanwhile": func(r *repository) { r.fail["PutImage"] = []error{&types.ImageAlreadyExistsException{}} },
	} {
		r := newRepository()
		prepare(r)
		if data, err := answer(t.Context(), r, &store{content: content}, event(cfn.RequestCreate)); err != nil || data["Uri"] == nil {
			t.Errorf("%s: %v, %v", name, data, err)
		}
	}
}

func TestAFaultIsToldAndNothingIsClaimed(t *testing.T) {
	other := &types.ImageTagAlreadyExistsException{Message: new("the tag belongs to another image")}
	for name, c := range map[string]struct {
		prepare func(*repository)
		change  func(cfn.Event)
		content []byte
		want    string
	}{
		"a tag of another image":     {prepare: func(r *repository) { r.fail["PutImage"] = []error{other} }, want: "the tag belongs to another image"},
		"a part that is refused":     {prepare: func(r *repository) { r.fail["UploadLayerPart"] = []error{&types.InvalidLayerPartException{}} }, want: "from byte 0"},
		"another digest":             {prepare: func(r *repository) { r.lie = true }, want: "try again"},
		"a property that is missing": {change: func(e cfn.Event) { delete(e.ResourceProperties, "Key") }, want: "the property Key is missing"},
		"another architecture":       {change: func(e cfn.Event) { e.ResourceProperties["Architecture"] = "amd64" }, want: "GOARCH"},
		"no program":                 {content: []byte("<html>"), want: "no executable"},
		"too much":                   {content: make([]byte, 128<<20+1), want: "more than"},
	} {
		r, s, e := newRepository(), &store{content: c.content}, event(cfn.RequestCreate)
		if s.content == nil {
			s.content = program(1 << 10)
		}
		if c.prepare != nil {
			c.prepare(r)
		}
		if c.change != nil {
			c.change(e)
		}
		data, err := answer(t.Context(), r, s, e)
		if err == nil || !strings.Contains(err.Error()+"; "+fault.From(err).Hint, c.want) || data != nil {
			t.Errorf("%s: %v, %v, want %q", name, data, err, c.want)
		}
	}
}

// TestSec_S93_AnotherProgramThanTheOneThatWasBuiltBecomesNoImage: the CDK uploads nothing to a name that is taken, so whoever
// may write to its bucket could have put the proxy of the next deployment there.
func TestSec_S93_AnotherProgramThanTheOneThatWasBuiltBecomesNoImage(t *testing.T) {
	built := strings.TrimPrefix(digest(program(1<<10)), "sha256:")
	for name, k := range map[string]struct{ told, want string }{
		"another program":             {built, "is not the one that was built"},
		"a digest that is none":       {"BUILD-proxy", "is not the one that was built"},
		"no digest":                   {"", "the property Sha256 is missing"},
		"a digest of the first bytes": {built[:32], "is not the one that was built"},
	} {
		r, e := newRepository(), event(cfn.RequestUpdate)
		e.ResourceProperties["Sha256"] = k.told
		data, err := answer(t.Context(), r, &store{content: program(2 << 10)}, e)
		if !fault.Is(err, fault.BadInput) || !strings.Contains(err.Error(), k.want) || data != nil || len(r.calls) != 0 {
			t.Errorf("%s: %v, %v, the registry was called %v", name, data, err, r.calls)
		}
	}
	if _, err := answer(t.Context(), newRepository(), &store{content: program(1 << 10)}, event(cfn.RequestUpdate)); err != nil {
		t.Errorf("the program that was built: %v", err)
	}
}
