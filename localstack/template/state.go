package template

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/stile-dev/stile/localstack/resource"
)

// State is what outlives a deployment: each stack's id, physical ids, attributes, outputs and exports. It
// is one JSON file, replaced as a whole; all methods may be called at once.
type State struct {
	path string

	mu     sync.Mutex
	Stacks map[string]*StackState `json:"stacks"`
}

// StackState is one stack as it was last deployed.
type StackState struct {
	ID        string                    `json:"id"`
	Resources map[string]*ResourceState `json:"resources"`
	Outputs   map[string]string         `json:"outputs"`
	Exports   map[string]string         `json:"exports"`
}

// ResourceState is one resource as it was last provisioned.
type ResourceState struct {
	Type       string         `json:"type"`
	Ref        string         `json:"ref"`
	Attributes map[string]any `json:"attributes,omitempty"`
	// Properties and CodeHash are kept for custom resources only: they decide whether an Update is sent.
	Properties map[string]any `json:"properties,omitempty"`
	CodeHash   string         `json:"code_hash,omitempty"`
}

func (r *ResourceState) outcome() resource.Outcome {
	return resource.Outcome{Ref: r.Ref, Attributes: r.Attributes}
}

// OpenState reads the state file, or starts an empty one.
func OpenState(path string) (*State, error) {
	s := &State{path: path, Stacks: map[string]*StackState{}}
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading stacks: %w", err)
	}
	if err := json.Unmarshal(raw, s); err != nil {
		return nil, fmt.Errorf("reading stacks from %s: %w; remove the state directory to start over", path, err)
	}
	return s, nil
}

// Export finds the value that some stack exports under a name.
func (s *State) Export(name string) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, stack := range s.Stacks {
		if value, ok := stack.Exports[name]; ok {
			return value, nil
		}
	}
	return nil, fmt.Errorf("no stack exports %s", name)
}

// Outputs returns a stack's outputs, nil if it was never deployed.
func (s *State) Outputs(stack string) map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if st := s.Stacks[stack]; st != nil {
		return st.Outputs
	}
	return nil
}

// stack returns a stack's state, with an id that is made once and stays.
func (s *State) stack(name, arnPrefix string) *StackState {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.Stacks[name]
	if st == nil {
		st = &StackState{ID: arnPrefix + name + "/" + uuid(), Resources: map[string]*ResourceState{}}
		s.Stacks[name] = st
	}
	return st
}

// update changes the state under its lock and writes it to disk before it returns.
func (s *State) update(change func()) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
	raw, err := json.MarshalIndent(s, "", " ")
	if err != nil {
		return fmt.Errorf("writing stacks: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(s.path), 0o700); err != nil {
		return fmt.Errorf("writing stacks: %w", err)
	}
	if err := os.WriteFile(s.path+".new", raw, 0o600); err != nil {
		return fmt.Errorf("writing stacks: %w", err)
	}
	if err := os.Rename(s.path+".new", s.path); err != nil {
		return fmt.Errorf("writing stacks: %w", err)
	}
	return nil
}

// uuid makes a random version 4 UUID (RFC 9562).
func uuid() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails, see crypto/rand
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
