// Package config reads an agent's configuration file.
//
// It opens nothing that the file names. Its entry point is [Read].
package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/stile-dev/stile/pkg/certs"
	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/resource"
)

// maxFile bounds the file.
const maxFile = 64 << 10

// leastRecordings is the least room for recordings, of which one session may take a quarter.
const leastRecordings = 16 << 20

// Places where an agent expects its files unless it is told otherwise.
const (
	File  = "/etc/stile/agent.yaml"
	State = "/var/lib/stile-agent"
)

// Config is the file, as YAML with exactly these keys.
type Config struct {
	API        string            `yaml:"api"`         // URL of the API, https
	Proxy      string            `yaml:"proxy"`       // host:port: reach the API, too, through this proxy's port
	Method     string            `yaml:"method"`      // iam | token; iam by default
	Token      string            `yaml:"token"`       // name of the join token
	SecretFile string            `yaml:"secret_file"` // of method token: a file that holds the token's secret
	Name       string            `yaml:"name"`        // short for the target node/<name>; the host name by default, if targets names no other
	Targets    []string          `yaml:"targets"`     // what it serves, as kind/name
	Labels     map[string]string `yaml:"labels"`      // labels that it claims; the token says which it gets
	State      string            `yaml:"state"`       // directory; /var/lib/stile-agent by default
	CAPin      string            `yaml:"ca_pin"`      // key id of the cluster's root key
	Region     string            `yaml:"region"`      // AWS Region of method iam; the environment's by default
	TTL        string            `yaml:"ttl"`         // how long a credential should live, such as 12h; 24h by default
	Log        string            `yaml:"log"`         // debug | info | warn | error; info by default
	Recordings string            `yaml:"recordings"`  // how much disk recordings may take until S3 holds them, such as 512MiB; 2GiB by default
}

// Serves lists what the agent is to serve: the targets, and name as a node.
func (c Config) Serves() []identity.Target {
	var all []identity.Target
	add := func(t identity.Target, err error) {
		if err == nil && !slices.Contains(all, t) {
			all = append(all, t)
		}
	}
	if c.Name != "" {
		add(identity.Target{Kind: names.KindNode, Name: c.Name}, nil)
	}
	for _, s := range c.Targets {
		add(identity.ParseTarget(s))
	}
	return all
}

// Life is TTL as a duration, 0 when not set.
func (c Config) Life() time.Duration { d, _ := time.ParseDuration(c.TTL); return d }

// RecordingsSize is Recordings in bytes, 0 when not set.
func (c Config) RecordingsSize() int64 { n, _ := size(c.Recordings); return n }

// size reads a number of MiB or GiB.
func size(s string) (int64, bool) {
	for suffix, unit := range map[string]int64{"MiB": 1 << 20, "GiB": 1 << 30} {
		if number, ok := strings.CutSuffix(s, suffix); ok {
			n, err := strconv.ParseInt(number, 10, 32)
			return n * unit, err == nil && n > 0
		}
	}
	return 0, false
}

// Read reads and validates a file. Faults of the text name line and column, and all others are reported together.
func Read(path string) (Config, error) {
	f, err := os.Open(path)
	if err != nil {
		return Config{}, fault.Newf(fault.BadInput, "name the file with --config", "the configuration %s can't be read", path).Because(err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil || len(b) > maxFile {
		return Config{}, fault.Newf(fault.BadInput, "keep it below 64 KiB", "the configuration %s can't be read", path).Because(err)
	}
	return Parse(b)
}

// Parse is Read for bytes.
func Parse(b []byte) (c Config, err error) {
	defer func() {
		// The parser panics at some of what it can't take, such as a tag that its writer made up.
		if r := recover(); r != nil {
			c, err = Config{}, syntax(fmt.Errorf("parsing: %v", r))
		}
	}()
	if err := yaml.NewDecoder(bytes.NewReader(b), yaml.Strict(), yaml.DisallowUnknownField()).Decode(&c); err != nil && !errors.Is(err, io.EOF) {
		return Config{}, syntax(err)
	}
	c.orDefaults()
	return c, c.Validate()
}

// syntax turns the decoder's error into a fault that names the place.
func syntax(err error) error {
	f := fault.New(fault.BadInput, "the configuration is not valid", "correct the place named above; docs/agent.md lists the keys").Because(err)
	var y yaml.Error
	if errors.As(err, &y) && y.GetToken() != nil {
		at := fmt.Sprintf("line %d, column %d", y.GetToken().Position.Line, y.GetToken().Position.Column)
		f.Message += ": " + at + ": " + y.GetMessage()
		return f.With(at, y.GetMessage())
	}
	f.Message += ": it is not YAML"
	return f
}

func (c *Config) orDefaults() {
	set := func(s *string, v string) {
		if *s == "" {
			*s = v
		}
	}
	set(&c.Method, resource.MethodIAM)
	set(&c.State, State)
	set(&c.Log, "info")
	if c.Name == "" && len(c.Targets) == 0 {
		host, _ := os.Hostname()
		c.Name, _, _ = strings.Cut(strings.ToLower(host), ".")
	}
}

// Validate reports all faults at once.
func (c Config) Validate() error {
	f := fault.New(fault.BadInput, "the configuration is not valid", "correct the keys named above; docs/agent.md lists all of them")
	need := func(ok bool, path, reason string) {
		if !ok {
			f.With(path, reason)
		}
	}
	u, err := url.Parse(c.API)
	need(err == nil && u.Scheme == "https" && u.Host != "" && u.User == nil && u.RawQuery == "", "api",
		"must be an https URL: an agent first trusts the API by its TLS certificate")
	if c.Proxy != "" {
		_, _, err := net.SplitHostPort(c.Proxy)
		need(err == nil, "proxy", "must be host:port")
	}
	need(c.Method == resource.MethodIAM || c.Method == resource.MethodToken, "method", "must be iam or token")
	need(c.Token != "", "token", "must name the join token")
	need(c.Method != resource.MethodToken || c.SecretFile != "", "secret_file", "must name the file with the token's secret")
	need(c.Name == "" && len(c.Targets) > 0 || identity.ValidTargetName(c.Name), "name", "must be 1–63 lower-case letters, digits, dots and hyphens")
	for i, s := range c.Targets {
		_, err := identity.ParseTarget(s)
		need(err == nil, fmt.Sprintf("targets[%d]", i), "must be kind/name, such as node/web-1")
	}
	need(filepath.IsAbs(c.State), "state", "must be an absolute path")
	need(c.CAPin == "" || document.IsKeyID(c.CAPin), "ca_pin", "must be the key id of the cluster's root key: 43 letters, digits, - and _")
	need(slices.Contains([]string{"debug", "info", "warn", "error"}, c.Log), "log", "must be debug, info, warn or error")
	room, ok := size(c.Recordings)
	need(c.Recordings == "" || ok && room >= leastRecordings, "recordings", "must be a number of MiB or GiB from 16MiB, such as 512MiB")
	ttl, err := time.ParseDuration(c.TTL)
	need(c.TTL == "" || err == nil && ttl >= time.Second && ttl <= certs.MaxHostLife, "ttl", "must be a duration from 1s to 24h, such as 12h")
	if len(f.Fields) == 0 {
		return nil
	}
	for i, field := range f.Fields {
		sep := ": "
		if i > 0 {
			sep = "; "
		}
		f.Message += sep + field.Path + " " + field.Reason
	}
	return f
}
