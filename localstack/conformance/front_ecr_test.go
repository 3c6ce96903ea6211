package conformance_test

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/smithy-go"
)

const manifestType = "application/vnd.oci.image.manifest.v1+json"

// pusher pushes into the suite's repository, whose tags are immutable.
type pusher struct {
	*ecr.Client
	repository string
}

func newPusher() pusher {
	return pusher{repository: here.Outputs["Images"], Client: ecr.NewFromConfig(here.Config, func(o *ecr.Options) {
		if here.Endpoint != "" {
			o.BaseEndpoint = aws.String(here.Endpoint)
		}
	})}
}

func blobDigest(blob []byte) string {
	sum := sha256.Sum256(blob)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// layer uploads a blob as the digest that it is said to have, and returns the code of the refusal.
func (p pusher) layer(t *testing.T, blob []byte, digest string) string {
	t.Helper()
	begun, err := p.InitiateLayerUpload(t.Context(), &ecr.InitiateLayerUploadInput{RepositoryName: &p.repository})
	if err != nil {
		t.Fatal(err)
	}
	_, err = p.UploadLayerPart(t.Context(), &ecr.UploadLayerPartInput{
		RepositoryName: &p.repository, UploadId: begun.UploadId, LayerPartBlob: blob, PartFirstByte: aws.Int64(0), PartLastByte: aws.Int64(int64(len(blob)) - 1),
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = p.CompleteLayerUpload(t.Context(), &ecr.CompleteLayerUploadInput{RepositoryName: &p.repository, UploadId: begun.UploadId, LayerDigests: []string{digest}})
	return refused(err)
}

func (p pusher) put(t *testing.T, manifest, imageTag string) string {
	t.Helper()
	_, err := p.PutImage(t.Context(), &ecr.PutImageInput{
		RepositoryName: &p.repository, ImageManifest: &manifest, ImageManifestMediaType: aws.String(manifestType), ImageTag: &imageTag,
	})
	return refused(err)
}

// refused is the code of a refusal, or "taken".
func refused(err error) string {
	if err == nil {
		return "taken"
	}
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		return api.ErrorCode()
	}
	return err.Error()
}

// pushed is an image: its configuration, its one layer and the manifest that names both.
type pushed struct{ config, layer, manifest []byte }

func newImage(t *testing.T, word string) pushed {
	t.Helper()
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	content := make([]byte, 1024) // the end of a tar without files
	z.Comment = word
	if _, err := z.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	i := pushed{layer: packed.Bytes()}
	i.config = fmt.Appendf(nil, `{"architecture":"arm64","os":"linux","author":%q,"config":{},"rootfs":{"type":"layers","diff_ids":[%q]}}`, word, blobDigest(content))
	i.manifest = fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":%q,"size":%d},`+
		`"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":%q,"size":%d}]}`,
		manifestType, blobDigest(i.config), len(i.config), blobDigest(i.layer), len(i.layer))
	return i
}

func TestALayerIsHeldAgainstItsDigest(t *testing.T) {
	t.Parallel()
	p, i := newPusher(), newImage(t, nonce())
	saw(t, "ecr/push/digest", p.layer(t, i.layer, blobDigest(i.config)), "InvalidLayerException")
}

func TestAnImageNeedsAllOfItsLayers(t *testing.T) {
	t.Parallel()
	p, run := newPusher(), nonce()
	i := newImage(t, run)
	none := p.put(t, string(i.manifest), "missing"+run)
	if got := p.layer(t, i.layer, blobDigest(i.layer)); got != "taken" {
		t.Fatal(got)
	}
	saw(t, "ecr/push/missing-layer", fmt.Sprintf("without any: %s\nwithout its configuration: %s", none, p.put(t, string(i.manifest), "missing"+run)),
		"without any: LayersNotFoundException\nwithout its configuration: LayersNotFoundException")
}

func TestATagThatIsImmutableKeepsItsImage(t *testing.T) {
	t.Parallel()
	p, run := newPusher(), nonce()
	one, other := newImage(t, run+"-1"), newImage(t, run+"-2")
	for _, blob := range [][]byte{one.config, one.layer, other.config, other.layer} {
		if got := p.layer(t, blob, blobDigest(blob)); got != "taken" {
			t.Fatal(got)
		}
	}
	first := p.put(t, string(one.manifest), "tag"+run)
	saw(t, "ecr/push/tag", fmt.Sprintf("first: %s\nagain: %s\nanother: %s", first, p.put(t, string(one.manifest), "tag"+run), p.put(t, string(other.manifest), "tag"+run)),
		"first: taken\nagain: ImageAlreadyExistsException\nanother: ImageTagAlreadyExistsException")
}
