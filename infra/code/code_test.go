package code_test

import (
	"archive/zip"
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stile-dev/stile/infra/code"
)

func TestTheSameBinaryMakesTheSameZipAtAnyTime(t *testing.T) {
	dir := t.TempDir()
	binary := filepath.Join(dir, "built")
	if err := os.WriteFile(binary, []byte("\x7fELF"), 0o600); err != nil {
		t.Fatal(err)
	}
	var zips [2][]byte
	for i, at := range []time.Time{time.Unix(1e9, 0), time.Unix(2e9, 0)} {
		if err := os.Chtimes(binary, at, at); err != nil {
			t.Fatal(err)
		}
		to := filepath.Join(dir, "function.zip")
		if err := code.Pack(binary, to); err != nil {
			t.Fatal(err)
		}
		raw, err := os.ReadFile(to)
		if err != nil {
			t.Fatal(err)
		}
		zips[i] = raw
	}
	if !bytes.Equal(zips[0], zips[1]) {
		t.Error("the zip depends on when the binary was built; an unchanged function would be deployed again")
	}
	r, err := zip.NewReader(bytes.NewReader(zips[0]), int64(len(zips[0])))
	if err != nil {
		t.Fatal(err)
	}
	if len(r.File) != 1 || r.File[0].Name != "bootstrap" || r.File[0].Mode().Perm() != 0o755 {
		t.Errorf("the zip holds %d files, the first %s with mode %v; Lambda runs an executable named bootstrap", len(r.File), r.File[0].Name, r.File[0].Mode())
	}
}

func TestAFunctionThatDoesNotBuildIsNamed(t *testing.T) {
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "go.mod"), []byte("module example.com/m\n\ngo 1.26\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := code.Build(t.Context(), root, []string{"login"})
	if err == nil || !bytes.Contains([]byte(err.Error()), []byte("building function login")) {
		t.Errorf("Build gave %v, want an error that names function login", err)
	}
}
