package image

import "fmt"

// manifest is the document that an image's digest is of.
type manifest struct {
	SchemaVersion int          `json:"schemaVersion"`
	MediaType     string       `json:"mediaType"`
	Config        descriptor   `json:"config"`
	Layers        []descriptor `json:"layers"`
}

// descriptor refers to a blob.
type descriptor struct {
	MediaType string `json:"mediaType"`
	Digest    string `json:"digest"`
	Size      int    `json:"size"`
}

func (b Blob) describe(mediaType string) descriptor {
	return descriptor{MediaType: mediaType, Digest: b.Digest, Size: len(b.Content)}
}

// config says how the image runs.
type config struct {
	Architecture string  `json:"architecture"`
	OS           string  `json:"os"`
	Config       process `json:"config"`
	RootFS       rootFS  `json:"rootfs"`
}

type process struct {
	User       string              `json:"User"`
	Entrypoint []string            `json:"Entrypoint"`
	Volumes    map[string]struct{} `json:"Volumes"`
	WorkingDir string              `json:"WorkingDir"`
}

type rootFS struct {
	Type    string   `json:"type"`
	DiffIDs []string `json:"diff_ids"`
}

// newConfig has no time of creation: that would make every build another image.
func newConfig(architecture, layer string) config {
	return config{
		Architecture: architecture, OS: "linux",
		Config: process{
			User: fmt.Sprintf("%d:%d", user, user), Entrypoint: []string{Entrypoint}, WorkingDir: "/",
			Volumes: map[string]struct{}{State: {}},
		},
		RootFS: rootFS{Type: "layers", DiffIDs: []string{layer}},
	}
}
