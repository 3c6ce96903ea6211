// Package profile keeps what a login leaves on an engineer's machine: two private keys, two certificates,
// the signed trust documents and the addresses of proxies, in one directory for each API.
//
// A credential is one file, written whole and renamed into place, readable by its owner alone; the newest
// trust document is never replaced by an older one. The package calls nobody. Its entry point is [Open].
package profile

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/stile-dev/stile/pkg/fault"
)

// Files and folders of a profile.
const (
	fileCredential = "credential.json" // keys and certificates
	fileProxies    = "proxies.json"    // host:port of the proxies seen last
	dirTrust       = "trust"           // signed documents, kept by package document/shelf
	fileAPI        = "api"             // in the home directory: the API of the last login
)

// Home is STILE_HOME, or .stile in the user's home directory.
func Home(getenv func(string) string) (string, error) {
	if dir := getenv("STILE_HOME"); dir != "" {
		return dir, nil
	}
	home := getenv("HOME")
	if home == "" {
		return "", fault.New(fault.BadInput, "there is nowhere to store credentials", "set STILE_HOME to a directory that you can write to")
	}
	return filepath.Join(home, ".stile"), nil
}

// API finds the API to talk to: what was asked for, else that of the last login under home.
func API(home, asked string) (string, error) {
	if asked != "" {
		return strings.TrimRight(asked, "/"), nil
	}
	b, err := os.ReadFile(filepath.Join(home, fileAPI))
	if errors.Is(err, fs.ErrNotExist) {
		return "", fault.New(fault.BadInput, "the URL of the API is not known", "set STILE_API, or pass --api, to the URL that your administrator gave you")
	}
	if err != nil {
		return "", unusable(home, fmt.Errorf("reading the API of the last login: %w", err))
	}
	return strings.TrimSpace(string(b)), nil
}

// Profile is the directory of one API.
type Profile struct {
	api  string
	home string
	dir  string
}

// odd is what doesn't go into a directory's name.
var odd = regexp.MustCompile(`[^a-z0-9.-]+`)

// Open names the profile of an API; it neither reads nor creates anything.
func Open(home, api string) (*Profile, error) {
	u, err := url.Parse(api)
	if err != nil || u.Scheme != "https" || u.Host == "" {
		return nil, fault.Newf(fault.BadInput, "set STILE_API to the API's URL, such as https://api.example.com/prod", "%q is not an https URL", api)
	}
	name := strings.Trim(odd.ReplaceAllString(strings.ToLower(u.Host+u.Path), "_"), "_.")
	return &Profile{api: api, home: home, dir: filepath.Join(home, name)}, nil
}

// API is the URL that the profile belongs to.
func (p *Profile) API() string { return p.api }

// Trust is the directory of the signed trust documents.
func (p *Profile) Trust() string { return filepath.Join(p.dir, dirTrust) }
