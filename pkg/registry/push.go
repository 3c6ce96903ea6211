package registry

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/image"
)

// ECR is what is used of the registry.
type ECR interface {
	BatchGetImage(context.Context, *ecr.BatchGetImageInput, ...func(*ecr.Options)) (*ecr.BatchGetImageOutput, error)
	BatchCheckLayerAvailability(context.Context, *ecr.BatchCheckLayerAvailabilityInput, ...func(*ecr.Options)) (*ecr.BatchCheckLayerAvailabilityOutput, error)
	InitiateLayerUpload(context.Context, *ecr.InitiateLayerUploadInput, ...func(*ecr.Options)) (*ecr.InitiateLayerUploadOutput, error)
	UploadLayerPart(context.Context, *ecr.UploadLayerPartInput, ...func(*ecr.Options)) (*ecr.UploadLayerPartOutput, error)
	CompleteLayerUpload(context.Context, *ecr.CompleteLayerUploadInput, ...func(*ecr.Options)) (*ecr.CompleteLayerUploadOutput, error)
	PutImage(context.Context, *ecr.PutImageInput, ...func(*ecr.Options)) (*ecr.PutImageOutput, error)
}

// Sizes of the parts of a layer: all but the last are at least smallest, and none is larger than largest
// (https://docs.aws.amazon.com/AmazonECR/latest/userguide/service-quotas.html).
const (
	smallest = 5 << 20
	largest  = 10 << 20
)

// push brings an image into a repository, unless it is there. What an earlier try has left there is used.
func (p *Pusher) push(ctx context.Context, repository string, i image.Image) error {
	there, err := p.has(ctx, repository, i.Digest())
	if err != nil || there {
		return err
	}
	blobs := []image.Blob{i.Layer, i.Config} // the configuration is uploaded as a layer, too
	missing, err := p.missing(ctx, repository, blobs)
	if err != nil {
		return err
	}
	for _, b := range missing {
		if err := p.upload(ctx, repository, b); err != nil {
			return err
		}
	}
	put, err := p.config.ECR.PutImage(ctx, &ecr.PutImageInput{
		RepositoryName: &repository, ImageManifest: new(string(i.Manifest.Content)), ImageManifestMediaType: new(image.ManifestType),
		ImageDigest: new(i.Digest()), ImageTag: new(tag(i.Digest())),
	})
	if _, again := errors.AsType[*types.ImageAlreadyExistsException](err); again {
		return nil
	}
	if err != nil {
		return fmt.Errorf("putting the image: %w", err)
	}
	if got := stored(put); got != i.Digest() {
		return fault.Newf(fault.Internal, "try again: deploy StileFleet", "the registry stored %s as %q", i.Digest(), got)
	}
	return nil
}

func stored(put *ecr.PutImageOutput) string {
	if put.Image == nil || put.Image.ImageId == nil || put.Image.ImageId.ImageDigest == nil {
		return ""
	}
	return *put.Image.ImageId.ImageDigest
}

// tag derives an image's one tag from its digest. Tags can't be moved in the repository, and this one never has to be.
func tag(digest string) string { return strings.ReplaceAll(digest, ":", "-") }

// has reports whether the repository has the image.
func (p *Pusher) has(ctx context.Context, repository, digest string) (bool, error) {
	got, err := p.config.ECR.BatchGetImage(ctx, &ecr.BatchGetImageInput{
		RepositoryName: &repository, ImageIds: []types.ImageIdentifier{{ImageDigest: &digest}}, AcceptedMediaTypes: []string{image.ManifestType},
	})
	if err != nil {
		return false, fmt.Errorf("looking for the image: %w", err)
	}
	return len(got.Images) > 0, nil
}

// missing returns the blobs that the repository lacks.
func (p *Pusher) missing(ctx context.Context, repository string, blobs []image.Blob) ([]image.Blob, error) {
	in := &ecr.BatchCheckLayerAvailabilityInput{RepositoryName: &repository}
	for _, b := range blobs {
		in.LayerDigests = append(in.LayerDigests, b.Digest)
	}
	got, err := p.config.ECR.BatchCheckLayerAvailability(ctx, in)
	if err != nil {
		return nil, fmt.Errorf("looking for the layers: %w", err)
	}
	there := map[string]bool{}
	for _, l := range got.Layers {
		if l.LayerDigest != nil && l.LayerAvailability == types.LayerAvailabilityAvailable {
			there[*l.LayerDigest] = true
		}
	}
	var out []image.Blob
	for _, b := range blobs {
		if !there[b.Digest] {
			out = append(out, b)
		}
	}
	return out, nil
}

// upload sends a blob in parts, one after the other.
func (p *Pusher) upload(ctx context.Context, repository string, b image.Blob) error {
	began, err := p.config.ECR.InitiateLayerUpload(ctx, &ecr.InitiateLayerUploadInput{RepositoryName: &repository})
	if err != nil {
		return fmt.Errorf("beginning an upload: %w", err)
	}
	size := int64(largest)
	if began.PartSize != nil {
		size = min(max(*began.PartSize, smallest), largest)
	}
	end := int64(len(b.Content))
	for first := int64(0); first < end; first += size {
		last := min(first+size, end) - 1
		if _, err := p.config.ECR.UploadLayerPart(ctx, &ecr.UploadLayerPartInput{
			RepositoryName: &repository, UploadId: began.UploadId, PartFirstByte: &first, PartLastByte: &last, LayerPartBlob: b.Content[first : last+1],
		}); err != nil {
			return fmt.Errorf("uploading %s from byte %d: %w", b.Digest, first, err)
		}
	}
	_, err = p.config.ECR.CompleteLayerUpload(ctx, &ecr.CompleteLayerUploadInput{RepositoryName: &repository, UploadId: began.UploadId, LayerDigests: []string{b.Digest}})
	if _, again := errors.AsType[*types.LayerAlreadyExistsException](err); again {
		return nil
	}
	if err != nil {
		return fmt.Errorf("completing the upload of %s: %w", b.Digest, err)
	}
	return nil
}
