package ecr

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
)

// Media types of a manifest and its parts: they must be of one family.
var families = map[string]struct{ config, layer string }{
	"application/vnd.oci.image.manifest.v1+json":           {"application/vnd.oci.image.config.v1+json", "application/vnd.oci.image.layer.v1.tar"},
	"application/vnd.docker.distribution.manifest.v2+json": {"application/vnd.docker.container.image.v1+json", "application/vnd.docker.image.rootfs.diff.tar"},
}

// manifest is what an image is made of.
type manifest struct {
	SchemaVersion int          `json:"schemaVersion"`
	MediaType     string       `json:"mediaType"`
	Config        descriptor   `json:"config"`
	Layers        []descriptor `json:"layers"`
}

type descriptor struct {
	MediaType string `json:"mediaType"`
	Digest    string `json:"digest"`
	Size      int64  `json:"size"`
}

// What one image may be: a pull holds its blobs in memory, and so once for all the times that they are named.
const (
	maxLayers = 127       // as many as Docker unpacks
	maxImage  = 256 << 20 // bytes of its configuration and layers
)

// parts are the configuration and the layers.
func (m manifest) parts() []descriptor { return append([]descriptor{m.Config}, m.Layers...) }

// bounded refuses an image that is larger than a pull may be.
func (m manifest) bounded() error {
	if len(m.Layers) > maxLayers {
		return fmt.Errorf("it has %d layers, and the local ECR takes no more than %d", len(m.Layers), maxLayers)
	}
	sizes, left := map[string]int64{}, int64(maxImage)
	for _, p := range m.parts() {
		if size, again := sizes[p.Digest]; again && size == p.Size {
			continue
		}
		if p.Size < 0 || p.Size > left {
			return fmt.Errorf("it has more than the %d bytes that the local ECR takes", maxImage)
		}
		sizes[p.Digest], left = p.Size, left-p.Size
	}
	return nil
}

type imageID struct {
	Digest string `json:"imageDigest,omitempty"`
	Tag    string `json:"imageTag,omitempty"`
}

func putImage(s *Service, name string, r *repository, body []byte) (any, error) {
	var in struct {
		target
		Manifest  string `json:"imageManifest"`
		MediaType string `json:"imageManifestMediaType"`
		Tag       string `json:"imageTag"`
		Digest    string `json:"imageDigest"`
	}
	if err := read(body, &in); err != nil {
		return nil, err
	}
	d := digest([]byte(in.Manifest))
	if in.Digest != "" && in.Digest != d {
		return nil, fail("ImageDigestDoesNotMatchException", "The digest of the image manifest is %s, not %s", d, in.Digest)
	}
	mediaType, err := r.checkManifest(in.Manifest, in.MediaType)
	if err != nil {
		return nil, err
	}
	if err := r.tag(d, in.Tag); err != nil {
		return nil, err
	}
	r.Order++
	if r.Images[d] == nil {
		r.Images[d] = &image{MediaType: mediaType, Manifest: in.Manifest, Order: r.Order}
	}
	if in.Tag != "" {
		r.Images[d].Tags = append(r.Images[d].Tags, in.Tag)
	}
	if err := s.expire(name, r); err != nil {
		return nil, err
	}
	return map[string]any{"image": s.show(name, imageID{d, in.Tag}, in.Manifest, mediaType)}, s.save()
}

// tag takes a tag for the image; one that is another's moves only where tags are mutable.
func (r *repository) tag(digest, tag string) error {
	if i := r.Images[digest]; i != nil && (tag == "" || slices.Contains(i.Tags, tag)) {
		return fail("ImageAlreadyExistsException", "Image with digest '%s' and tag '%s' already exists", digest, tag)
	}
	for _, i := range r.Images {
		if tag == "" || !slices.Contains(i.Tags, tag) {
			continue
		}
		if r.Immutable {
			return fail("ImageTagAlreadyExistsException", "The image tag '%s' already exists in the repository and cannot be overwritten because the repository is immutable.", tag)
		}
		i.Tags = slices.DeleteFunc(i.Tags, func(t string) bool { return t == tag })
	}
	return nil
}

// checkManifest refuses what a task could not pull: unknown forms, a mixture of families, layers that aren't there.
func (r *repository) checkManifest(text, mediaType string) (string, error) {
	var m manifest
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		return "", fail("InvalidParameterException", "Invalid parameter at 'imageManifest': %v", err)
	}
	if mediaType == "" {
		mediaType = m.MediaType
	}
	family, known := families[mediaType]
	if !known || m.MediaType != mediaType || m.SchemaVersion != 2 || len(m.Layers) == 0 {
		return "", fail("InvalidParameterException", "Invalid parameter at 'imageManifest': a manifest of one image with schema version 2 and a known media type is needed, not %q", mediaType)
	}
	if err := m.bounded(); err != nil {
		return "", fail("InvalidParameterException", "Invalid parameter at 'imageManifest': %v", err)
	}
	for i, p := range m.parts() {
		if i == 0 && p.MediaType != family.config || i > 0 && !strings.HasPrefix(p.MediaType, family.layer) {
			return "", fail("InvalidParameterException", "Invalid parameter at 'imageManifest': %s does not belong into %s", p.MediaType, mediaType)
		}
		if size, there := r.Layers[p.Digest]; !there || size != p.Size {
			return "", fail("LayersNotFoundException", "Layers with digests '[%s]' required for pushing the image do not exist", p.Digest)
		}
	}
	return mediaType, nil
}

// expire deletes the oldest images beyond the lifecycle policy's number, with the layers that no other image has.
func (s *Service) expire(name string, r *repository) error {
	gone := map[string]bool{}
	for r.Keep > 0 && len(r.Images) > r.Keep {
		var oldest string
		for d, i := range r.Images {
			if oldest == "" || i.Order < r.Images[oldest].Order {
				oldest = d
			}
		}
		for _, d := range r.Images[oldest].parts() {
			gone[d] = true
		}
		delete(r.Images, oldest)
	}
	for _, i := range r.Images {
		for _, d := range i.parts() {
			delete(gone, d)
		}
	}
	for d := range gone {
		if err := os.Remove(s.blob(name, d)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("expiring an image: %w", err)
		}
		delete(r.Layers, d)
	}
	return nil
}

// parts are the digests of an image's configuration and layers.
func (i *image) parts() (digests []string) {
	var m manifest
	_ = json.Unmarshal([]byte(i.Manifest), &m) // it was read when it was put
	for _, p := range m.parts() {
		digests = append(digests, p.Digest)
	}
	return digests
}

func (s *Service) show(name string, id imageID, manifest, mediaType string) any {
	return map[string]any{
		"registryId": s.config.Authority.Account(), "repositoryName": name, "imageId": id,
		"imageManifest": manifest, "imageManifestMediaType": mediaType,
	}
}

func getImages(s *Service, name string, r *repository, body []byte) (any, error) {
	var in struct {
		target
		IDs      []imageID `json:"imageIds"`
		Accepted []string  `json:"acceptedMediaTypes"`
	}
	if err := read(body, &in); err != nil {
		return nil, err
	}
	if len(in.IDs) == 0 || len(in.IDs) > 100 {
		return nil, fail("InvalidParameterException", "imageIds must have 1 to 100 members")
	}
	images, failures := []any{}, []any{}
	for _, id := range in.IDs {
		d, i := r.find(id)
		if i == nil || len(in.Accepted) > 0 && !slices.Contains(in.Accepted, i.MediaType) {
			failures = append(failures, map[string]any{"imageId": id, "failureCode": "ImageNotFound", "failureReason": "Requested image not found"})
			continue
		}
		images = append(images, s.show(name, imageID{d, id.Tag}, i.Manifest, i.MediaType))
	}
	return map[string]any{"images": images, "failures": failures}, nil
}

// find returns the image of a digest, of a tag, or of both.
func (r *repository) find(id imageID) (string, *image) {
	for d, i := range r.Images {
		if (id.Digest == "" || d == id.Digest) && (id.Tag == "" || slices.Contains(i.Tags, id.Tag)) && id != (imageID{}) {
			return d, i
		}
	}
	return "", nil
}
