package stand

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
)

// Copy makes a system below dir whose parts may be changed without changing the repository's. It builds the programs
// if they are missing.
func Copy(ctx context.Context, repository, dir string) (*System, error) {
	if _, err := os.Stat(filepath.Join(repository, "bin", "localstack")); errors.Is(err, fs.ErrNotExist) {
		if out, err := exec.CommandContext(ctx, "make", "-C", repository, "--no-print-directory", "build").CombinedOutput(); err != nil {
			return nil, fmt.Errorf("building: %w\n%s", err, out)
		}
	}
	s := &System{Root: filepath.Join(dir, "root"), State: filepath.Join(dir, "state")}
	for _, part := range []string{"bin", "infra/templates", "localstack/account.yaml"} {
		if err := linkTree(filepath.Join(repository, part), filepath.Join(s.Root, part)); err != nil {
			return nil, fmt.Errorf("copying %s: %w", part, err)
		}
	}
	return s, nil
}

// linkTree copies a tree; programs become links to the same file where the file system allows it.
func linkTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		if d.IsDir() {
			return os.MkdirAll(target, 0o755)
		}
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return err
		}
		if filepath.Base(from) == "bin" && os.Link(path, target) == nil { //nolint:gosec // our own tree
			return nil
		}
		return CopyFile(path, target)
	})
}

// CopyFile copies a file with its permissions.
func CopyFile(from, to string) error {
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, b, info.Mode().Perm())
}

// ChangeTemplate rewrites one template of a copy.
func (s *System) ChangeTemplate(stack string, change func(map[string]any) error) error {
	path := filepath.Join(s.Root, "infra/templates", stack+".json")
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var t map[string]any
	if err := json.Unmarshal(b, &t); err != nil {
		return fmt.Errorf("reading %s: %w", path, err)
	}
	if err := change(t); err != nil {
		return err
	}
	if b, err = json.MarshalIndent(t, "", " "); err != nil {
		return err
	}
	return os.WriteFile(path, b, 0o644)
}
