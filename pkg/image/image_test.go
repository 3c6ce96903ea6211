package image_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"debug/elf"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/image"
)

// executable makes the head of a program, and with a loader one header that asks for it.
func executable(machine elf.Machine, loader bool) []byte {
	h := elf.Header64{Type: uint16(elf.ET_EXEC), Machine: uint16(machine), Version: 1, Phoff: 64, Ehsize: 64, Phentsize: 56, Shentsize: 64}
	copy(h.Ident[:], "\x7fELF\x02\x01\x01")
	var b bytes.Buffer
	if loader {
		h.Phnum = 1
	}
	_ = binary.Write(&b, binary.LittleEndian, h)
	if loader {
		_ = binary.Write(&b, binary.LittleEndian, elf.Prog64{Type: uint32(elf.PT_INTERP), Off: 120})
	}
	return b.Bytes()
}

func build(t *testing.T, program []byte) image.Image {
	t.Helper()
	i, err := image.Build(program, "arm64")
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func TestTwoBuildsOfOneProgramAreOneImage(t *testing.T) {
	program := executable(elf.EM_AARCH64, false)
	one, two := build(t, program), build(t, bytes.Clone(program))
	if diff := cmp.Diff(one, two); diff != "" {
		t.Error(diff)
	}
	other := build(t, append(bytes.Clone(program), 0))
	if one.Digest() == other.Digest() {
		t.Errorf("another program has the same digest %s", one.Digest())
	}
}

func TestDigestsAreOfTheContent(t *testing.T) {
	i := build(t, executable(elf.EM_AARCH64, false))
	for _, b := range []image.Blob{i.Layer, i.Config, i.Manifest} {
		if want := digest(b.Content); b.Digest != want || len(b.Content) == 0 {
			t.Errorf("%d bytes have the digest %s, want %s", len(b.Content), b.Digest, want)
		}
	}
	var m struct {
		SchemaVersion int
		MediaType     string
		Config        struct {
			MediaType, Digest string
			Size              int
		}
		Layers []struct {
			MediaType, Digest string
			Size              int
		}
	}
	if err := json.Unmarshal(i.Manifest.Content, &m); err != nil {
		t.Fatal(err)
	}
	if m.SchemaVersion != 2 || m.MediaType != image.ManifestType || len(m.Layers) != 1 ||
		m.Config.Digest != i.Config.Digest || m.Config.Size != len(i.Config.Content) || m.Config.MediaType != "application/vnd.oci.image.config.v1+json" ||
		m.Layers[0].Digest != i.Layer.Digest || m.Layers[0].Size != len(i.Layer.Content) || m.Layers[0].MediaType != "application/vnd.oci.image.layer.v1.tar+gzip" {
		t.Errorf("manifest %s", i.Manifest.Content)
	}
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}

func TestTheProgramRunsAsNobodyAndOwnsItsDirectoryAlone(t *testing.T) {
	program := executable(elf.EM_AARCH64, false)
	i := build(t, program)
	var c struct {
		Architecture, OS string
		Config           struct {
			User, WorkingDir string
			Entrypoint       []string
			Volumes          map[string]any
		}
		RootFS struct {
			Type    string
			DiffIDs []string `json:"diff_ids"`
		}
	}
	if err := json.Unmarshal(i.Config.Content, &c); err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(bytes.NewReader(i.Layer.Content))
	if err != nil {
		t.Fatal(err)
	}
	layer, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	if c.Architecture != "arm64" || c.OS != "linux" || c.Config.User != "65532:65532" || !cmp.Equal(c.Config.Entrypoint, []string{"/stile-proxy"}) ||
		!cmp.Equal(c.RootFS.DiffIDs, []string{digest(layer)}) || c.RootFS.Type != "layers" || c.Config.WorkingDir != "/" || c.Config.Volumes["/var/lib/stile"] == nil {
		t.Errorf("configuration %s", i.Config.Content)
	}
	type entry struct {
		Name     string
		Mode     int64
		UID, GID int
	}
	var got []entry
	for r := tar.NewReader(bytes.NewReader(layer)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if content, err := io.ReadAll(r); err != nil || h.Name == "stile-proxy" && !bytes.Equal(content, program) {
			t.Errorf("%v, the program has %d bytes", err, len(content))
		}
		if h.ModTime.Unix() != 0 || h.Uname != "" || h.Gname != "" {
			t.Errorf("%s has time %v and owner %q, %q", h.Name, h.ModTime, h.Uname, h.Gname)
		}
		got = append(got, entry{h.Name, h.Mode, h.Uid, h.Gid})
	}
	want := []entry{{"stile-proxy", 0o555, 0, 0}, {"var/", 0o755, 0, 0}, {"var/lib/", 0o755, 0, 0}, {"var/lib/stile/", 0o700, 65532, 65532}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestWhatATaskCouldNotStartIsRefused(t *testing.T) {
	narrow := executable(elf.EM_AARCH64, false)
	narrow[4] = byte(elf.ELFCLASS32)
	object := executable(elf.EM_AARCH64, false)
	object[16] = byte(elf.ET_REL)
	for name, c := range map[string]struct {
		program      []byte
		architecture string
	}{
		"another architecture":    {executable(elf.EM_X86_64, false), "arm64"},
		"a program with loader":   {executable(elf.EM_AARCH64, true), "arm64"},
		"no program":              {[]byte("#!/bin/sh\n"), "arm64"},
		"nothing":                 {nil, "arm64"},
		"32 bits":                 {narrow, "arm64"},
		"an object file":          {object, "arm64"},
		"an unknown architecture": {executable(elf.EM_AARCH64, false), "ARM64"},
	} {
		i, err := image.Build(c.program, c.architecture)
		if !fault.Is(err, fault.BadInput) || i.Digest() != "" {
			t.Errorf("%s: %v, image %q", name, err, i.Digest())
		}
	}
}
