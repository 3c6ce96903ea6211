package ecr

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"

	"github.com/stile-dev/stile/localstack/gate"
)

// Sizes of the parts of a layer (https://docs.aws.amazon.com/AmazonECR/latest/userguide/service-quotas.html).
const (
	smallestPart = 5 << 20
	largestPart  = 10 << 20
)

// What uploads may take of this process's memory.
const (
	maxUploads = 16
	maxUpload  = 256 << 20 // bytes, all together
)

var digestForm = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

func digest(content []byte) string {
	sum := sha256.Sum256(content)
	return "sha256:" + hex.EncodeToString(sum[:])
}

func checkLayers(_ *Service, _ string, r *repository, body []byte) (any, error) {
	var in struct {
		target
		LayerDigests []string `json:"layerDigests"`
	}
	if err := read(body, &in); err != nil {
		return nil, err
	}
	if len(in.LayerDigests) == 0 || len(in.LayerDigests) > 100 {
		return nil, fail("InvalidParameterException", "layerDigests must have 1 to 100 members")
	}
	layers, failures := []any{}, []any{}
	for _, d := range in.LayerDigests {
		size, there := r.Layers[d]
		switch {
		case !digestForm.MatchString(d):
			failures = append(failures, map[string]any{"layerDigest": d, "failureCode": "InvalidLayerDigest", "failureReason": "the digest is invalid"})
		case there:
			layers = append(layers, map[string]any{"layerDigest": d, "layerAvailability": "AVAILABLE", "layerSize": size})
		default:
			layers = append(layers, map[string]any{"layerDigest": d, "layerAvailability": "UNAVAILABLE", "layerSize": 0})
		}
	}
	return map[string]any{"layers": layers, "failures": failures}, nil
}

func initiateUpload(s *Service, name string, _ *repository, body []byte) (any, error) {
	if err := read(body, &target{}); err != nil {
		return nil, err
	}
	if len(s.uploads) >= maxUploads {
		return nil, fail("LimitExceededException", "%d layers are on their way, and the local ECR takes no more", maxUploads)
	}
	id := newID()
	s.uploads[id] = &upload{repository: name}
	return map[string]any{"uploadId": id, "partSize": largestPart}, nil
}

// find returns an upload into this repository.
func (s *Service) find(id, repository string) (*upload, error) {
	if u := s.uploads[id]; u != nil && u.repository == repository {
		return u, nil
	}
	return nil, fail("UploadNotFoundException", "The upload with id '%s' does not exist in the repository '%s'", id, repository)
}

func (s *Service) uploading() (size int) {
	for _, u := range s.uploads {
		size += u.content.Len()
	}
	return size
}

func uploadPart(s *Service, name string, _ *repository, body []byte) (any, error) {
	var in struct {
		target
		UploadID      string `json:"uploadId"`
		PartFirstByte int    `json:"partFirstByte"`
		PartLastByte  int    `json:"partLastByte"`
		LayerPartBlob []byte `json:"layerPartBlob"`
	}
	if err := read(body, &in); err != nil {
		return nil, err
	}
	u, err := s.find(in.UploadID, name)
	if err != nil {
		return nil, err
	}
	have, size := u.content.Len(), len(in.LayerPartBlob)
	if in.PartFirstByte != have || in.PartLastByte != have+size-1 || size == 0 || size > largestPart {
		return nil, &gate.Error{
			Code: "InvalidLayerPartException", Message: "The layer part size is not valid, or the first byte specified is not consecutive to the last byte of a previous layer part upload",
			Fields: map[string]any{"uploadId": in.UploadID, "repositoryName": name, "lastValidByteReceived": have - 1},
		}
	}
	if s.uploading()+size > maxUpload {
		return nil, fail("LimitExceededException", "the local ECR keeps no more than %d bytes of layers that are on their way", maxUpload)
	}
	u.parts = append(u.parts, size)
	u.content.Write(in.LayerPartBlob)
	return map[string]any{"uploadId": in.UploadID, "repositoryName": name, "lastByteReceived": in.PartLastByte}, nil
}

func completeUpload(s *Service, name string, r *repository, body []byte) (any, error) {
	var in struct {
		target
		UploadID     string   `json:"uploadId"`
		LayerDigests []string `json:"layerDigests"`
	}
	if err := read(body, &in); err != nil {
		return nil, err
	}
	u, err := s.find(in.UploadID, name)
	if err != nil {
		return nil, err
	}
	if len(u.parts) == 0 {
		return nil, fail("EmptyUploadException", "The specified layer upload does not contain any layer parts")
	}
	for _, size := range u.parts[:len(u.parts)-1] {
		if size < smallestPart {
			return nil, fail("LayerPartTooSmallException", "Layer parts must be at least 5 MiB in size")
		}
	}
	got := digest(u.content.Bytes())
	if len(in.LayerDigests) != 1 || in.LayerDigests[0] != got {
		return nil, fail("InvalidLayerException", "Layer digests %q do not match the layer's, %s", in.LayerDigests, got)
	}
	defer delete(s.uploads, in.UploadID)
	if _, there := r.Layers[got]; there {
		return nil, fail("LayerAlreadyExistsException", "The image layer %s already exists in the repository", got)
	}
	if err := write(s.blob(name, got), u.content.Bytes()); err != nil {
		return nil, err
	}
	r.Layers[got] = int64(u.content.Len())
	return map[string]any{"uploadId": in.UploadID, "repositoryName": name, "layerDigest": got}, s.save()
}
