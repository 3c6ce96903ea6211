package registry_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
)

// repository is one of ECR's, with faults by operation: each is returned once, in place of the call.
type repository struct {
	blobs      map[string][]byte
	images     map[string]stored
	uploads    map[string][]byte
	parts      []int
	calls      map[string]int
	fail       map[string][]error
	hideLayers bool // says of no layer that it is there
	lie        bool // names another digest than that of the image
}

type stored struct{ manifest, tag string }

func newRepository() *repository {
	return &repository{blobs: map[string][]byte{}, images: map[string]stored{}, uploads: map[string][]byte{}, calls: map[string]int{}, fail: map[string][]error{}}
}

func (r *repository) begin(operation string) error {
	r.calls[operation]++
	if faults := r.fail[operation]; len(faults) > 0 {
		r.fail[operation] = faults[1:]
		return faults[0]
	}
	return nil
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}

func (r *repository) BatchGetImage(_ context.Context, in *ecr.BatchGetImageInput, _ ...func(*ecr.Options)) (*ecr.BatchGetImageOutput, error) {
	out := &ecr.BatchGetImageOutput{}
	for _, id := range in.ImageIds {
		if _, ok := r.images[*id.ImageDigest]; ok {
			out.Images = append(out.Images, types.Image{ImageId: &id})
		}
	}
	return out, r.begin("BatchGetImage")
}

func (r *repository) BatchCheckLayerAvailability(_ context.Context, in *ecr.BatchCheckLayerAvailabilityInput, _ ...func(*ecr.Options)) (*ecr.BatchCheckLayerAvailabilityOutput, error) {
	out := &ecr.BatchCheckLayerAvailabilityOutput{}
	for _, d := range in.LayerDigests {
		l := types.Layer{LayerDigest: &d, LayerAvailability: types.LayerAvailabilityUnavailable}
		if r.blobs[d] != nil && !r.hideLayers {
			l.LayerAvailability = types.LayerAvailabilityAvailable
		}
		out.Layers = append(out.Layers, l)
	}
	return out, r.begin("BatchCheckLayerAvailability")
}

func (r *repository) InitiateLayerUpload(context.Context, *ecr.InitiateLayerUploadInput, ...func(*ecr.Options)) (*ecr.InitiateLayerUploadOutput, error) {
	id := fmt.Sprint(len(r.uploads))
	r.uploads[id] = nil
	return &ecr.InitiateLayerUploadOutput{UploadId: &id, PartSize: new(int64(20 << 20))}, r.begin("InitiateLayerUpload")
}

// UploadLayerPart takes contiguous parts of 5 to 10 MiB. That only the last is smaller is seen when the next one comes.
func (r *repository) UploadLayerPart(_ context.Context, in *ecr.UploadLayerPartInput, _ ...func(*ecr.Options)) (*ecr.UploadLayerPartOutput, error) {
	if err := r.begin("UploadLayerPart"); err != nil {
		return nil, err
	}
	had, size := r.uploads[*in.UploadId], len(in.LayerPartBlob)
	if *in.PartFirstByte != int64(len(had)) || *in.PartLastByte != int64(len(had)+size-1) || size > 10<<20 || size == 0 {
		return nil, &types.InvalidLayerPartException{}
	}
	if n := len(r.parts); len(had) > 0 && r.parts[n-1] < 5<<20 {
		return nil, &types.LayerPartTooSmallException{}
	}
	r.parts = append(r.parts, size)
	r.uploads[*in.UploadId] = append(had, in.LayerPartBlob...)
	return &ecr.UploadLayerPartOutput{}, nil
}

func (r *repository) CompleteLayerUpload(_ context.Context, in *ecr.CompleteLayerUploadInput, _ ...func(*ecr.Options)) (*ecr.CompleteLayerUploadOutput, error) {
	if err := r.begin("CompleteLayerUpload"); err != nil {
		return nil, err
	}
	content := r.uploads[*in.UploadId]
	if len(in.LayerDigests) != 1 || digest(content) != in.LayerDigests[0] {
		return nil, &types.InvalidLayerException{}
	}
	r.blobs[in.LayerDigests[0]] = content
	return &ecr.CompleteLayerUploadOutput{}, nil
}

func (r *repository) PutImage(_ context.Context, in *ecr.PutImageInput, _ ...func(*ecr.Options)) (*ecr.PutImageOutput, error) {
	if err := r.begin("PutImage"); err != nil {
		return nil, err
	}
	d := digest([]byte(*in.ImageManifest))
	if d != *in.ImageDigest {
		return nil, &types.ImageDigestDoesNotMatchException{}
	}
	r.images[d] = stored{*in.ImageManifest, *in.ImageTag}
	if r.lie {
		d = digest(nil)
	}
	return &ecr.PutImageOutput{Image: &types.Image{ImageId: &types.ImageIdentifier{ImageDigest: &d}}}, nil
}
