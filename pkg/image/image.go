// Package image makes a container image of one static program: a layer with the program and the directory that it may
// write to, a configuration and a manifest, as the OCI image specification has them
// (https://github.com/opencontainers/image-spec). The same program makes the same bytes, so its digest says what it is.
//
// It knows no registry and reads no file. Its entry point is [Build].
package image

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/stile-dev/stile/pkg/fault"
)

// Media types of the parts. They are of one family: registries refuse a mixture of OCI's and Docker's.
const (
	ManifestType = "application/vnd.oci.image.manifest.v1+json"
	configType   = "application/vnd.oci.image.config.v1+json"
	layerType    = "application/vnd.oci.image.layer.v1.tar+gzip"
)

const (
	// Entrypoint is where the program lies in the image.
	Entrypoint = "/stile-proxy"
	// State is the one directory that the program owns. A volume that is mounted there takes over its owner, because
	// the configuration declares it; on Fargate one that is mounted anywhere else belongs to root.
	State = "/var/lib/stile"
	// user runs the program. It is a number, since the image has no file that could give a name a meaning.
	user = 65532
)

// Blob is a part of an image as a registry stores it.
type Blob struct {
	Digest  string // sha256:<hex>
	Content []byte
}

// Image is a whole image.
type Image struct {
	Layer, Config, Manifest Blob
}

// Digest names the image.
func (i Image) Digest() string { return i.Manifest.Digest }

// Build makes the image of a program, which must be a static executable of Linux for the architecture, named as the
// OCI names it: arm64 or amd64.
func Build(program []byte, architecture string) (Image, error) {
	if err := check(program, architecture); err != nil {
		return Image{}, err
	}
	layer, err := pack(program)
	if err != nil {
		return Image{}, fmt.Errorf("packing the program: %w", err)
	}
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err = w.Write(layer); err == nil {
		err = w.Close()
	}
	if err != nil {
		return Image{}, fmt.Errorf("compressing the layer: %w", err)
	}
	out := Image{Layer: blob(b.Bytes())}
	if out.Config, err = encode(newConfig(architecture, blob(layer).Digest)); err != nil {
		return Image{}, err
	}
	out.Manifest, err = encode(manifest{
		SchemaVersion: 2, MediaType: ManifestType,
		Config: out.Config.describe(configType), Layers: []descriptor{out.Layer.describe(layerType)},
	})
	return out, err
}

func blob(content []byte) Blob {
	sum := sha256.Sum256(content)
	return Blob{Digest: "sha256:" + hex.EncodeToString(sum[:]), Content: content}
}

func encode(v any) (Blob, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return Blob{}, fmt.Errorf("writing the image: %w", err)
	}
	return blob(raw), nil
}

// machines are the architectures that AWS Fargate runs.
var machines = map[string]elf.Machine{"arm64": elf.EM_AARCH64, "amd64": elf.EM_X86_64}

const rebuild = "make it with CGO_ENABLED=0 GOOS=linux GOARCH=arm64, as the CDK app does"

// check refuses what would only fail when a task starts: another format or architecture, or a program that needs a
// loader and libraries, which the image doesn't have.
func check(program []byte, architecture string) error {
	want, known := machines[architecture]
	if !known {
		return fault.Newf(fault.BadInput, "set the property Architecture to arm64 or amd64", "images are not made for the architecture %q", architecture)
	}
	f, err := elf.NewFile(bytes.NewReader(program))
	if err != nil {
		return fault.New(fault.BadInput, "the program is no executable of Linux", rebuild).Because(err)
	}
	switch {
	case f.Class != elf.ELFCLASS64 || f.Type != elf.ET_EXEC && f.Type != elf.ET_DYN:
		return fault.New(fault.BadInput, "the program is no 64-bit executable of Linux", rebuild)
	case f.Machine != want:
		return fault.Newf(fault.BadInput, rebuild, "the program is for %s, but tasks run on %s", f.Machine, architecture)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return fault.New(fault.BadInput, "the program needs a loader that the image doesn't have", rebuild)
		}
	}
	return nil
}

// pack writes the layer without times or names, so that it depends on the program alone.
func pack(program []byte) ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	entries := []tar.Header{
		{Name: Entrypoint[1:], Typeflag: tar.TypeReg, Mode: 0o555, Size: int64(len(program))},
		{Name: "var/", Typeflag: tar.TypeDir, Mode: 0o755},
		{Name: "var/lib/", Typeflag: tar.TypeDir, Mode: 0o755},
		{Name: State[1:] + "/", Typeflag: tar.TypeDir, Mode: 0o700, Uid: user, Gid: user},
	}
	for i := range entries {
		entries[i].Format = tar.FormatUSTAR
		if err := w.WriteHeader(&entries[i]); err != nil {
			return nil, err
		}
		if entries[i].Typeflag == tar.TypeReg {
			if _, err := w.Write(program); err != nil {
				return nil, err
			}
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
