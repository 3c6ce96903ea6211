package ecr_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awsecr "github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/aws/smithy-go"

	"github.com/stile-dev/stile/localstack/ecr"
	"github.com/stile-dev/stile/localstack/gate"
	"github.com/stile-dev/stile/localstack/iam"
	"github.com/stile-dev/stile/localstack/resource"
)

const repository = "fleet-repository"

// world is a registry with one repository, behind the gate.
type world struct {
	*ecr.Service
	dir       string
	authority *iam.Authority
	url       string
	uri       string // of the repository
	client    *awsecr.Client
}

const lifecycle = `{"rules":[{"rulePriority":1,"selection":{"tagStatus":"any","countType":"imageCountMoreThan","countNumber":2},"action":{"type":"expire"}}]}`

func declared(policy string) resource.Resource {
	return resource.Resource{Type: "AWS::ECR::Repository", LogicalID: "R", PhysicalID: repository, Properties: map[string]any{
		"ImageTagMutability": "IMMUTABLE", "EmptyOnDelete": true, "LifecyclePolicy": map[string]any{"LifecyclePolicyText": policy},
	}}
}

func newWorld(t *testing.T) *world {
	t.Helper()
	authority, err := iam.Open(iam.Config{Dir: t.TempDir(), Account: "111122223333"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = authority.Close() })
	w := &world{dir: t.TempDir(), authority: authority}
	w.open(t)
	out, err := w.Provision(declared(lifecycle))
	if err != nil {
		t.Fatal(err)
	}
	w.uri = fmt.Sprint(out.Attributes["RepositoryUri"])
	g, err := gate.New(gate.Config{Authority: authority, Services: []gate.Service{w.Service}})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(g)
	t.Cleanup(server.Close)
	w.url = server.URL
	w.client = w.as(t, "pusher", `"ecr:*"`, "arn:aws:ecr:us-east-1:111122223333:repository/"+repository)
	return w
}

func (w *world) open(t *testing.T) {
	t.Helper()
	s, err := ecr.Open(ecr.Config{Dir: w.dir, Authority: w.authority})
	if err != nil {
		t.Fatal(err)
	}
	w.Service = s
}

// role makes a role that may do actions on a resource.
func (w *world) role(t *testing.T, name, actions, on string) string {
	t.Helper()
	made, err := w.authority.PutRole(iam.Role{
		Name:   name,
		Trust:  json.RawMessage(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ecs-tasks.amazonaws.com"},"Action":"sts:AssumeRole"}]}`),
		Inline: map[string]iam.Inline{"p": {Document: json.RawMessage(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":[` + actions + `],"Resource":["*","` + on + `"]}]}`)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return made.ARN
}

func (w *world) as(t *testing.T, name, actions, on string) *awsecr.Client {
	t.Helper()
	minted, err := w.authority.Mint(w.role(t, name, actions, on), "session", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return awsecr.New(awsecr.Options{
		Region: "us-east-1", BaseEndpoint: aws.String(w.url), RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(minted.AccessKeyID, minted.SecretAccessKey, minted.SessionToken),
	})
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}

func code(err error) string {
	if e, ok := errors.AsType[smithy.APIError](err); ok {
		return e.ErrorCode()
	}
	return fmt.Sprint(err)
}

func (w *world) begin(t *testing.T) *string {
	t.Helper()
	out, err := w.client.InitiateLayerUpload(t.Context(), &awsecr.InitiateLayerUploadInput{RepositoryName: new(repository)})
	if err != nil {
		t.Fatal(err)
	}
	return out.UploadId
}

func (w *world) part(ctx context.Context, id *string, first int64, content []byte) error {
	_, err := w.client.UploadLayerPart(ctx, &awsecr.UploadLayerPartInput{
		RepositoryName: new(repository), UploadId: id, PartFirstByte: &first, PartLastByte: new(first + int64(len(content)) - 1), LayerPartBlob: content,
	})
	return err
}

func (w *world) complete(ctx context.Context, id *string, digest string) error {
	_, err := w.client.CompleteLayerUpload(ctx, &awsecr.CompleteLayerUploadInput{RepositoryName: new(repository), UploadId: id, LayerDigests: []string{digest}})
	return err
}

func (w *world) layer(t *testing.T, content []byte) {
	t.Helper()
	id := w.begin(t)
	err := w.part(t.Context(), id, 0, content)
	if err == nil {
		err = w.complete(t.Context(), id, digest(content))
	}
	if err != nil && code(err) != "LayerAlreadyExistsException" {
		t.Fatal(err)
	}
}

func manifest(config, layer []byte, configType string) string {
	return fmt.Sprintf(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":%q,"digest":%q,"size":%d},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":%q,"size":%d}]}`,
		configType, digest(config), len(config), digest(layer), len(layer))
}

const configType = "application/vnd.oci.image.config.v1+json"

func (w *world) put(ctx context.Context, text, tag string) error {
	_, err := w.client.PutImage(ctx, &awsecr.PutImageInput{RepositoryName: new(repository), ImageManifest: &text, ImageTag: &tag, ImageManifestMediaType: new("application/vnd.oci.image.manifest.v1+json")})
	return err
}

// image pushes an image of one word and returns its digest.
func (w *world) image(t *testing.T, word string) string {
	t.Helper()
	config, layer := []byte("config of "+word), []byte("layer of "+word)
	w.layer(t, config)
	w.layer(t, layer)
	text := manifest(config, layer, configType)
	if err := w.put(t.Context(), text, word); err != nil {
		t.Fatal(err)
	}
	return digest([]byte(text))
}

func (w *world) pull(t *testing.T, role, reference string) (ecr.Pulled, error) {
	t.Helper()
	_, who, err := w.authority.Assume(iam.AssumeRequest{Caller: iam.ServicePrincipal("ecs-tasks.amazonaws.com"), RoleARN: role, Session: "task", Duration: 15 * time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	return w.Pull(who, reference)
}

func TestWhatIsPushedIsPulledByItsDigest(t *testing.T) {
	w := newWorld(t)
	d := w.image(t, "one")
	w.open(t) // it is on disk
	role := w.role(t, "puller", `"ecr:GetAuthorizationToken","ecr:BatchGetImage","ecr:BatchCheckLayerAvailability","ecr:GetDownloadUrlForLayer"`, "*")
	got, err := w.pull(t, role, w.uri+"@"+d)
	if err != nil || got.Digest != d || string(got.Config) != "config of one" || len(got.Layers) != 1 || string(got.Layers[0]) != "layer of one" {
		t.Errorf("%v, %+v", err, got)
	}
	for name, reference := range map[string]string{
		"a tag": w.uri + ":one", "another digest": w.uri + "@" + digest(nil), "another registry": "docker.io/library/x@" + d,
		"another repository": strings.Replace(w.uri, repository, "other", 1) + "@" + d,
	} {
		if _, err := w.pull(t, role, reference); err == nil {
			t.Errorf("%s was pulled", name)
		}
	}
}

func TestSec_S80_WhatWasChangedOnTheWayIsNotPulled(t *testing.T) {
	w := newWorld(t)
	d := w.image(t, "one")
	role := w.role(t, "puller", `"ecr:*"`, "*")
	blobs, err := filepath.Glob(filepath.Join(w.dir, "blobs", repository, "*"))
	if err != nil || len(blobs) != 2 {
		t.Fatal(err, blobs)
	}
	for _, blob := range blobs {
		was, err := os.ReadFile(blob)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(blob, append(was, 'x'), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := w.pull(t, role, w.uri+"@"+d); err == nil || !strings.Contains(err.Error(), "has the digest") {
			t.Errorf("a changed blob: %v", err)
		}
		if err := os.WriteFile(blob, was, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestEveryCallAndEveryPullNeedsItsPermission(t *testing.T) {
	w := newWorld(t)
	d := w.image(t, "one")
	stranger := w.as(t, "stranger", `"ecr:DescribeImages"`, "*")
	name := new(repository)
	for operation, err := range map[string]error{
		"BatchGetImage":               ignore(stranger.BatchGetImage(t.Context(), &awsecr.BatchGetImageInput{RepositoryName: name, ImageIds: []types.ImageIdentifier{{ImageDigest: &d}}})),
		"BatchCheckLayerAvailability": ignore(stranger.BatchCheckLayerAvailability(t.Context(), &awsecr.BatchCheckLayerAvailabilityInput{RepositoryName: name, LayerDigests: []string{d}})),
		"InitiateLayerUpload":         ignore(stranger.InitiateLayerUpload(t.Context(), &awsecr.InitiateLayerUploadInput{RepositoryName: name})),
		"UploadLayerPart":             ignore(stranger.UploadLayerPart(t.Context(), &awsecr.UploadLayerPartInput{RepositoryName: name, UploadId: name, PartFirstByte: new(int64(0)), PartLastByte: new(int64(0)), LayerPartBlob: []byte{0}})),
		"CompleteLayerUpload":         ignore(stranger.CompleteLayerUpload(t.Context(), &awsecr.CompleteLayerUploadInput{RepositoryName: name, UploadId: name, LayerDigests: []string{d}})),
		"PutImage":                    ignore(stranger.PutImage(t.Context(), &awsecr.PutImageInput{RepositoryName: name, ImageManifest: name})),
	} {
		if code(err) != "AccessDeniedException" {
			t.Errorf("%s: %v", operation, err)
		}
	}
	all := []string{"ecr:GetAuthorizationToken", "ecr:BatchGetImage", "ecr:BatchCheckLayerAvailability", "ecr:GetDownloadUrlForLayer"}
	for i, missing := range all {
		var may []string
		for j, action := range all {
			if i != j {
				may = append(may, `"`+action+`"`)
			}
		}
		if _, err := w.pull(t, w.role(t, "puller", strings.Join(may, ","), "*"), w.uri+"@"+d); err == nil || !strings.Contains(err.Error(), missing) {
			t.Errorf("a pull without %s: %v", missing, err)
		}
	}
}

func ignore[T any](_ T, err error) error { return err }

func TestLayersAreTakenInPartsAsECRDoes(t *testing.T) {
	w := newWorld(t)
	large, small := bytes.Repeat([]byte("l"), 5<<20), []byte("small")
	id := w.begin(t)
	if err := w.complete(t.Context(), id, digest(nil)); code(err) != "EmptyUploadException" {
		t.Errorf("nothing: %v", err)
	}
	for name, c := range map[string]struct {
		first   int64
		content []byte
	}{"a gap": {1, small}, "more than 10 MiB": {0, make([]byte, 10<<20+1)}} {
		if err := w.part(t.Context(), id, c.first, c.content); code(err) != "InvalidLayerPartException" {
			t.Errorf("%s: %v", name, err)
		}
	}
	for i, part := range [][]byte{large, small} {
		if err := w.part(t.Context(), id, int64(i*len(large)), part); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.complete(t.Context(), id, digest(small)); code(err) != "InvalidLayerException" {
		t.Errorf("another digest: %v", err)
	}
	whole := append(bytes.Clone(large), small...)
	if err := w.complete(t.Context(), id, digest(whole)); err != nil {
		t.Error(err)
	}
	if err := w.complete(t.Context(), id, digest(whole)); code(err) != "UploadNotFoundException" {
		t.Errorf("a finished upload: %v", err)
	}
	again := w.begin(t)
	for i, part := range [][]byte{small, large} {
		if err := w.part(t.Context(), again, int64(i*len(small)), part); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.complete(t.Context(), again, digest(append(bytes.Clone(small), large...))); code(err) != "LayerPartTooSmallException" {
		t.Errorf("a small part before the last: %v", err)
	}
	got, err := w.client.BatchCheckLayerAvailability(t.Context(), &awsecr.BatchCheckLayerAvailabilityInput{RepositoryName: new(repository), LayerDigests: []string{digest(whole), digest(nil)}})
	if err != nil || got.Layers[0].LayerAvailability != types.LayerAvailabilityAvailable || got.Layers[1].LayerAvailability != types.LayerAvailabilityUnavailable {
		t.Errorf("%v, %+v", err, got)
	}
}

func TestUploadsHaveTheirBound(t *testing.T) {
	w := newWorld(t)
	for range 16 {
		w.begin(t)
	}
	_, err := w.client.InitiateLayerUpload(t.Context(), &awsecr.InitiateLayerUploadInput{RepositoryName: new(repository)})
	if code(err) != "LimitExceededException" {
		t.Errorf("the 17th upload: %v", err)
	}
}

func TestImagesAreTakenAsECRDoes(t *testing.T) {
	w := newWorld(t)
	config, layer := []byte("c"), []byte("l")
	text := manifest(config, layer, configType)
	w.layer(t, layer)
	if err := w.put(t.Context(), text, "t"); code(err) != "LayersNotFoundException" {
		t.Errorf("without the configuration, which is a layer too: %v", err)
	}
	w.layer(t, config)
	if err := w.put(t.Context(), manifest(config, layer, "application/vnd.docker.container.image.v1+json"), "t"); code(err) != "InvalidParameterException" {
		t.Errorf("two families: %v", err)
	}
	_, err := w.client.PutImage(t.Context(), &awsecr.PutImageInput{RepositoryName: new(repository), ImageManifest: &text, ImageDigest: new(digest(nil))})
	if code(err) != "ImageDigestDoesNotMatchException" {
		t.Errorf("another digest: %v", err)
	}
	if err := w.put(t.Context(), text, "t"); err != nil {
		t.Fatal(err)
	}
	if err := w.put(t.Context(), text, "t"); code(err) != "ImageAlreadyExistsException" {
		t.Errorf("the same again: %v", err)
	}
	w.layer(t, []byte("other"))
	if err := w.put(t.Context(), manifest(config, []byte("other"), configType), "t"); code(err) != "ImageTagAlreadyExistsException" {
		t.Errorf("another image with the tag: %v", err)
	}
}

// layered is a manifest whose layers are one, so many times.
func layered(config, layer []byte, times int) string {
	_, one, _ := strings.Cut(manifest(config, layer, configType), `"layers":[`)
	one = strings.TrimSuffix(one, "]}")
	head, _, _ := strings.Cut(manifest(config, layer, configType), one)
	return head + strings.Repeat(one+",", times-1) + one + "]}"
}

// An image may name a layer more than once, and many do name the empty one so.
func TestALayerThatIsNamedManyTimesIsHeldOnce(t *testing.T) {
	w := newWorld(t)
	config, layer := []byte("config"), bytes.Repeat([]byte("x"), 3<<20) // 127 times it would be more than an image may be
	w.layer(t, config)
	w.layer(t, layer)
	text := layered(config, layer, 127)
	if err := w.put(t.Context(), text, "many"); err != nil {
		t.Fatal(err)
	}
	role := w.role(t, "puller", `"ecr:GetAuthorizationToken","ecr:BatchGetImage","ecr:BatchCheckLayerAvailability","ecr:GetDownloadUrlForLayer"`, "*")
	got, err := w.pull(t, role, w.uri+"@"+digest([]byte(text)))
	if err != nil || len(got.Layers) != 127 || len(got.Types) != 127 {
		t.Fatalf("%d layers, %v", len(got.Layers), err)
	}
	for i, l := range got.Layers {
		if &l[0] != &got.Layers[0][0] || !bytes.Equal(l, layer) {
			t.Fatalf("layer %d is held once more, or is another", i)
		}
	}
}

func TestAnImageHasItsBounds(t *testing.T) {
	w := newWorld(t)
	config, layer := []byte("config"), bytes.Repeat([]byte("x"), 1<<10)
	w.layer(t, config)
	w.layer(t, layer)
	small := manifest(config, layer, configType)
	for name, k := range map[string]struct{ text, says string }{
		"a layer too often": {layered(config, layer, 128), "128 layers"},
		"a layer too large": {strings.Replace(small, `"size":1024`, `"size":268435456`, 1), "more than the 268435456 bytes"},
		"a size below zero": {strings.Replace(small, `"size":6`, `"size":-268435456`, 1), "more than the 268435456 bytes"},
	} {
		if err := w.put(t.Context(), k.text, "t"); code(err) != "InvalidParameterException" || !strings.Contains(err.Error(), k.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTheOldestImagesExpireWithTheLayersThatNobodyElseHas(t *testing.T) {
	w := newWorld(t)
	one, two, three := w.image(t, "one"), w.image(t, "two"), w.image(t, "three")
	got, err := w.client.BatchGetImage(t.Context(), &awsecr.BatchGetImageInput{RepositoryName: new(repository), ImageIds: []types.ImageIdentifier{{ImageDigest: &one}, {ImageDigest: &two}, {ImageDigest: &three}}})
	if err != nil || len(got.Images) != 2 || len(got.Failures) != 1 || *got.Failures[0].ImageId.ImageDigest != one || got.Failures[0].FailureCode != types.ImageFailureCodeImageNotFound {
		t.Errorf("%v, %+v", err, got)
	}
	if blobs, err := filepath.Glob(filepath.Join(w.dir, "blobs", repository, "*")); err != nil || len(blobs) != 4 {
		t.Errorf("%v, blobs %v", err, blobs)
	}
}

func TestARepositoryIsRemovedWithItsImagesIfItSaysSo(t *testing.T) {
	w := newWorld(t)
	w.image(t, "one")
	full := declared(lifecycle)
	full.Properties["EmptyOnDelete"] = false
	if _, err := w.Provision(full); err != nil {
		t.Fatal(err)
	}
	if err := w.Remove(full); err == nil || !strings.Contains(err.Error(), "still contains images") {
		t.Errorf("a full one: %v", err)
	}
	if _, err := w.Provision(declared(lifecycle)); err != nil {
		t.Fatal(err)
	}
	for range 2 { // gone already is gone
		if err := w.Remove(declared(lifecycle)); err != nil {
			t.Error(err)
		}
	}
	if _, err := w.client.InitiateLayerUpload(t.Context(), &awsecr.InitiateLayerUploadInput{RepositoryName: new(repository)}); code(err) != "RepositoryNotFoundException" {
		t.Errorf("after its removal: %v", err)
	}
	if _, err := os.Stat(filepath.Join(w.dir, "repositories.json")); err != nil {
		t.Errorf("other repositories are gone too: %v", err)
	}
}

func TestAPolicyThatIsNotUnderstoodIsRefused(t *testing.T) {
	w := newWorld(t)
	for _, c := range [][2]string{{"imageCountMoreThan", "sinceImagePushed"}, {`"any"`, `"untagged"`}, {`"countNumber":2`, `"countNumber":0`}, {`"rulePriority":1`, `"priority":1`}, {"}]}", "}"}} {
		bad := strings.Replace(lifecycle, c[0], c[1], 1)
		if _, err := w.Provision(declared(bad)); err == nil {
			t.Errorf("%s was taken", bad)
		}
	}
	odd := declared(lifecycle)
	odd.Properties["Colour"] = "red"
	if _, err := w.Provision(odd); err == nil {
		t.Error("an unknown property was taken")
	}
}
