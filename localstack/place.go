package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"

	"github.com/stile-dev/stile/localstack/process"
)

// place is where everything is; all paths are absolute.
type place struct {
	root  string // the repository: bin/, infra/templates/, localstack/account.yaml
	state string // env env.admin log/ run/ aws/ home/
}

func newPlace(root, state string) (place, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return place{}, fmt.Errorf("finding the repository: %w", err)
	}
	if state == "" {
		state = filepath.Join(root, ".stile")
	}
	state, err = filepath.Abs(state)
	if err != nil {
		return place{}, fmt.Errorf("finding the state directory: %w", err)
	}
	return place{root, state}, nil
}

func (p place) bin() string              { return filepath.Join(p.root, "bin") }
func (p place) templates() string        { return filepath.Join(p.root, "infra", "templates") }
func (p place) account() string          { return filepath.Join(p.root, "localstack", "account.yaml") }
func (p place) log() string              { return filepath.Join(p.state, "log") }
func (p place) run() string              { return filepath.Join(p.state, "run") }
func (p place) aws() string              { return filepath.Join(p.state, "aws") }
func (p place) home(name string) string  { return filepath.Join(p.state, "home", name) }
func (p place) trust() string            { return filepath.Join(p.run(), "root.pem") }
func (p place) balancer() string         { return filepath.Join(p.run(), "balancer.json") }
func (p place) logOf(name string) string { return filepath.Join(p.log(), name+".log") }

// create makes the state directory, for its owner alone.
func (p place) create() error {
	for _, dir := range []string{p.state, p.log(), p.run(), p.aws(), p.home("")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("making the state directory: %w", err)
		}
	}
	return nil
}

// build names everything that runs: programs, templates, account.yaml, and how many of each. Another name means
// that what is running is out of date.
func (p place) build(s scale) (string, error) {
	h := sha256.New()
	for _, root := range []string{p.bin(), p.templates(), p.account()} {
		err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			sum, err := process.FileHash(path)
			if err == nil {
				_, err = fmt.Fprintln(h, path, sum)
			}
			return err
		})
		if err != nil {
			return "", fmt.Errorf("looking for what to run: %w; run make build first", err)
		}
	}
	return fmt.Sprintf("%s-p%d-a%d", hex.EncodeToString(h.Sum(nil)[:12]), s.Proxies, s.Agents), nil
}

// ports are the addresses of this state directory, on 127.0.0.1. They are remembered in run/ports.json, with
// those of tasks by name.
type ports struct {
	mu    sync.Mutex // of Tasks and kept, once the system is started
	path  string
	kept  bool           // the file has them
	AWS   int            `json:"aws"`
	API   int            `json:"api"`
	Proxy int            `json:"proxy"`
	Tasks map[string]int `json:"tasks"`
}

// loadPorts reads the remembered ports, or chooses them: the fixed ones, or free ones if auto is set. Those are remembered by
// save, once it is known that they can be had.
func (p place) loadPorts(auto bool) (*ports, error) {
	o, err := p.readPorts()
	if err != nil || o.AWS != 0 {
		return o, err
	}
	o.AWS, o.API, o.Proxy, o.Tasks = 9010, 9011, 9443, map[string]int{}
	if auto {
		for _, port := range []*int{&o.AWS, &o.API, &o.Proxy} {
			if *port, err = o.free(); err != nil {
				return nil, err
			}
		}
	}
	return o, nil
}

// readPorts returns the remembered ports, or zeros if nothing was started yet.
func (p place) readPorts() (*ports, error) {
	o := &ports{path: filepath.Join(p.run(), "ports.json")}
	raw, err := os.ReadFile(o.path)
	if errors.Is(err, fs.ErrNotExist) {
		return o, nil
	}
	if err == nil {
		err = json.Unmarshal(raw, o)
	}
	if err != nil {
		return nil, fmt.Errorf("reading ports: %w", err)
	}
	o.kept = true
	return o, nil
}

// free finds a port that nobody listens on and that is not remembered already.
func (o *ports) free() (int, error) {
	for range 20 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return 0, fmt.Errorf("looking for a free port: %w", err)
		}
		port := l.Addr().(*net.TCPAddr).Port
		_ = l.Close()
		taken := []int{o.AWS, o.API, o.Proxy}
		for _, task := range o.Tasks {
			taken = append(taken, task)
		}
		if !slices.Contains(taken, port) {
			return port, nil
		}
	}
	return 0, errors.New("looking for a free port: none was found")
}

// task is a task's port, the same one each time.
func (o *ports) task(name string) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if port, ok := o.Tasks[name]; ok {
		return port, nil
	}
	port, err := o.free()
	if err != nil {
		return 0, err
	}
	if o.Tasks == nil {
		o.Tasks = map[string]int{}
	}
	o.Tasks[name] = port
	return port, o.save()
}

func (o *ports) save() error {
	raw, err := json.Marshal(o)
	if err == nil {
		err = os.WriteFile(o.path, append(raw, '\n'), 0o600)
	}
	if err != nil {
		return fmt.Errorf("remembering ports: %w", err)
	}
	o.kept = true
	return nil
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

func (o *ports) endpoint() string { return "http://" + loopback(o.AWS) }

// check says which of the given ports another program has, and what to run. What a state directory holds names its ports, so
// they stay as they are there.
func (o *ports) check(wanted ...int) error {
	for _, port := range wanted {
		l, err := net.Listen("tcp", loopback(port))
		if err != nil {
			other := "STILE_PORTS=auto make up"
			if o.kept {
				other = "STILE_PORTS=auto STILE_STATE=.stile-2 make up && . .stile-2/env"
			}
			return fmt.Errorf("port %d is in use by another program: end it (ss -ltnp 'sport = :%d' names it), or take free ports: %s", port, port, other)
		}
		_ = l.Close()
	}
	return nil
}
