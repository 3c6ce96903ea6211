package code_test

import (
	"archive/zip"
	"bytes"
	"debug/elf"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stile-dev/stile/infra/code"
	"github.com/stile-dev/stile/infra/stack"
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
	_, err := code.Build(t.Context(), root, []string{"login"}, nil)
	if err == nil || !bytes.Contains([]byte(err.Error()), []byte("building function login")) {
		t.Errorf("Build gave %v, want an error that names function login", err)
	}
}

// Go records the commit in a program, unless it is told not to.
func TestTheSameSourceOfAnotherCommitMakesTheSameProgram(t *testing.T) {
	t.Setenv("GOFLAGS", "-buildvcs=true")
	root := t.TempDir()
	var made [2]code.File
	for i := range made {
		for path, text := range map[string]string{"go.mod": "module example.com/m\n\ngo 1.26\n", "proxy/main.go": "package main\n\nfunc main() {}\n", "README": fmt.Sprint(i)} {
			put(t, filepath.Join(root, path), text)
		}
		for _, args := range [][]string{{"init", "-q"}, {"add", "-A", "--", "go.mod", "proxy", "README"}, {"-c", "user.name=T", "-c", "user.email=t@example.com", "commit", "-qm", "A change"}} {
			cmd := exec.Command("git", args...)
			cmd.Dir = root
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("git %q: %v\n%s", args, err, out)
			}
		}
		files, err := code.Build(t.Context(), root, nil, []stack.Built{{Name: "proxy", Source: "proxy", Architecture: "arm64"}})
		if err != nil {
			t.Fatal(err)
		}
		made[i] = files["proxy"]
	}
	if made[0] != made[1] || made[0].SHA256 == "" {
		t.Errorf("built from two commits: %+v", made)
	}
}

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// The image holds nothing but the program, and Fargate runs it on arm64.
func TestAProgramIsStaticAndForTheTasksArchitecture(t *testing.T) {
	root := t.TempDir()
	for path, text := range map[string]string{
		"go.mod": "module example.com/m\n\ngo 1.26\n", "proxy/main.go": "package main\n\nimport \"net\"\n\nfunc main() { _, _ = net.LookupHost(\"x\") }\n",
	} {
		put(t, filepath.Join(root, path), text)
	}
	files, err := code.Build(t.Context(), root, nil, []stack.Built{{Name: "proxy", Source: "proxy", Architecture: "arm64"}})
	if err != nil {
		t.Fatal(err)
	}
	f, err := elf.Open(files["proxy"].Path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if f.Machine != elf.EM_AARCH64 {
		t.Errorf("the program is for %s", f.Machine)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			t.Error("the program needs a loader")
		}
	}
	if _, err := code.Build(t.Context(), root, nil, []stack.Built{{Name: "absent", Source: "absent", Architecture: "arm64"}}); err == nil || !bytes.Contains([]byte(err.Error()), []byte("building program absent")) {
		t.Errorf("Build gave %v, want an error that names the program", err)
	}
}
