package profile

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/stile-dev/stile/pkg/durable"
	"github.com/stile-dev/stile/pkg/fault"
)

// write is the function of that name, with a fault where the place is at fault.
func (p *Profile) write(path string, content []byte) error { return p.unusable(write(path, content)) }

// write puts a file in place whole: a reader sees the old bytes or the new ones, and nobody else sees either.
func write(path string, content []byte) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("creating %s: %w", dir, err)
	}
	if err := durable.Write(path, content); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return nil
}

// readPrivate reads a file that holds keys, and refuses one that others can read.
func readPrivate(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("reading credential: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fault.Newf(fault.BadInput, "run stile logout, then stile login --iam, since others may have read your keys",
			"%s can be read by others (mode %04o)", path, info.Mode().Perm())
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading credential: %w", err)
	}
	return b, nil
}

// Proxies are the addresses, host:port, that were live when last told; none when never told, and when the file
// is of no use, for the API tells them again.
func (p *Profile) Proxies() []string {
	b, err := os.ReadFile(filepath.Join(p.dir, fileProxies))
	if err != nil {
		return nil
	}
	var list []string
	if json.Unmarshal(b, &list) != nil {
		return nil
	}
	return list
}

// SetProxies keeps the addresses of live proxies; an empty list is not kept, for old addresses are better than none.
func (p *Profile) SetProxies(list []string) error {
	if len(list) == 0 {
		return nil
	}
	b, err := json.Marshal(list)
	if err != nil {
		return fmt.Errorf("writing proxies: %w", err)
	}
	return p.write(filepath.Join(p.dir, fileProxies), b)
}
