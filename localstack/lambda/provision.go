package lambda

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"time"

	"github.com/stile-dev/stile/localstack/process"
	"github.com/stile-dev/stile/localstack/property"
	"github.com/stile-dev/stile/localstack/resource"
)

// Types lists what the host provides.
func (h *Host) Types() []string {
	return []string{"AWS::Lambda::Function", "AWS::Lambda::Permission", "AWS::Lambda::EventSourceMapping"}
}

// Provision creates or updates one resource.
func (h *Host) Provision(r resource.Resource) (resource.Outcome, error) {
	switch r.Type {
	case "AWS::Lambda::Function":
		return h.putFunction(r)
	case "AWS::Lambda::Permission":
		return h.grant(r)
	case "AWS::Lambda::EventSourceMapping":
		return h.putMapping(r)
	}
	return resource.Outcome{}, fmt.Errorf("the lambda host does not provide %s", r.Type)
}

// Remove deletes what Provision made: a function ends with its instances and its permissions.
func (h *Host) Remove(r resource.Resource) error {
	switch r.Type {
	case "AWS::Lambda::Function":
		h.mu.Lock()
		f := h.functions[r.PhysicalID]
		delete(h.functions, r.PhysicalID)
		delete(h.grants, r.PhysicalID)
		h.mu.Unlock()
		if f != nil {
			f.close()
		}
		return nil
	case "AWS::Lambda::Permission":
		return h.revoke(r)
	case "AWS::Lambda::EventSourceMapping":
		return h.dropMapping(r.PhysicalID)
	}
	return fmt.Errorf("the lambda host does not provide %s", r.Type)
}

// declared is AWS::Lambda::Function. What is raw JSON has no effect here.
type declared struct {
	FunctionName  string
	Description   string
	Runtime       string
	Handler       string
	Role          string
	MemorySize    property.Int
	Timeout       property.Int
	Architectures []string
	Code          json.RawMessage // the zip is not read: the binary built for this machine runs
	Environment   struct{ Variables map[string]property.Text }
	LoggingConfig json.RawMessage

	ReservedConcurrentExecutions *property.Int
}

func (h *Host) putFunction(r resource.Resource) (resource.Outcome, error) {
	var d declared
	if err := property.Decode(r.Properties, &d); err != nil {
		return resource.Outcome{}, err
	}
	binary, _ := r.Metadata["stile:binary"].(string)
	if err := d.check(binary); err != nil {
		return resource.Outcome{}, err
	}
	s := settings{Name: d.FunctionName, Binary: binary, Path: filepath.Join(h.BinDir, filepath.FromSlash(binary)), Role: d.Role, Handler: d.Handler, Memory: int(d.MemorySize), Timeout: time.Duration(d.Timeout) * time.Second, Env: map[string]string{}}
	if d.ReservedConcurrentExecutions != nil {
		s.Most = int(*d.ReservedConcurrentExecutions)
	}
	if s.Name == "" {
		s.Name = physicalName(r)
	}
	if s.Memory == 0 {
		s.Memory = 128
	}
	if s.Timeout == 0 {
		s.Timeout = 3 * time.Second
	}
	for name, value := range d.Environment.Variables {
		s.Env[name] = string(value)
	}
	if r.PhysicalID != "" && r.PhysicalID != s.Name {
		return resource.Outcome{}, fmt.Errorf("property FunctionName: function %s cannot be renamed to %s", r.PhysicalID, s.Name)
	}
	if _, err := h.function(s.Name); err == nil && r.New() {
		return resource.Outcome{}, fmt.Errorf("function %s: %w", s.Name, resource.ErrExists)
	}
	hash, err := process.FileHash(s.Path)
	if errors.Is(err, os.ErrNotExist) {
		return resource.Outcome{}, fmt.Errorf("no binary %s; build it, or correct the metadata stile:binary", s.Path)
	}
	if err != nil {
		return resource.Outcome{}, err
	}
	f := newFunction(h, s, hash)
	if _, err := h.session(f); err != nil {
		return resource.Outcome{}, err
	}
	h.replace(f)
	return resource.Outcome{Ref: s.Name, Attributes: map[string]any{"Arn": f.arn}}, nil
}

func (d declared) check(binary string) error {
	switch {
	case binary == "":
		return errors.New(`metadata "stile:binary" is missing: it names the binary that runs here, such as "functions/login"`)
	case !filepath.IsLocal(filepath.FromSlash(binary)):
		return fmt.Errorf(`metadata "stile:binary" is %q, which is not a path below the directory of binaries`, binary)
	case !strings.HasPrefix(d.Runtime, "provided."):
		return fmt.Errorf("property Runtime: %q is not supported, only provided.… is", d.Runtime)
	case d.Role == "":
		return errors.New("property Role is missing")
	case d.ReservedConcurrentExecutions != nil && *d.ReservedConcurrentExecutions < 1:
		return errors.New("property ReservedConcurrentExecutions: none at all is not supported, only 1 or more")
	case d.Timeout > 900:
		return fmt.Errorf("property Timeout: %d is more than 900 seconds", d.Timeout)
	}
	return nil
}

// replace puts a function into its place; an unchanged one stays, with its instances.
func (h *Host) replace(f *function) {
	h.mu.Lock()
	old := h.functions[f.Name]
	if old != nil && old.hash == f.hash && reflect.DeepEqual(old.settings, f.settings) {
		h.mu.Unlock()
		f.cancel()
		return
	}
	h.functions[f.Name] = f
	h.mu.Unlock()
	if old != nil {
		old.close()
	}
}
