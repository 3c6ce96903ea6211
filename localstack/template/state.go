package template

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/stile-dev/stile/localstack/resource"
)

// State is what outlives a deployment: each stack's id, physical ids, attributes, outputs and exports. It
// is one JSON file, replaced as a whole; all methods may be called at once.
type State struct {
	path string

	mu     sync.Mutex
	Stacks map[string]*StackState `json:"stacks"`
	// Retained is what stacks left behind when they were deleted or rolled back, or could not delete.
	Retained []Retained `json:"retained,omitempty"`
}

// Retained is a resource that belongs to no stack any more.
type Retained struct {
	Stack     string `json:"stack"`
	LogicalID string `json:"logical_id"`
	Type      string `json:"type"`
	Ref       string `json:"ref"`
}

// StackState is one stack as it was last deployed.
type StackState struct {
	ID        string `json:"id"`
	Status    Status `json:"status"`
	Protected bool   `json:"protected,omitempty"` // termination protection
	// Resources are those that the stack has. An entry is replaced, never changed.
	Resources map[string]*ResourceState `json:"resources"`
	// Before are those that it had before the update that is under way or could not be rolled back.
	Before map[string]*ResourceState `json:"before,omitempty"`
	// Gone are those that it has to delete, in this order.
	Gone []Leaving `json:"gone,omitempty"`
	// Generations counts what was made, by logical id.
	Generations map[string]int    `json:"generations,omitempty"`
	Outputs     map[string]string `json:"outputs"`
	Exports     map[string]string `json:"exports"`
	Imports     []string          `json:"imports,omitempty"`
	// Parameters are the values of the last deployment, which the next one has unless it is given others.
	Parameters map[string]string `json:"parameters,omitempty"`
}

// Leaving is a resource that has to be deleted.
type Leaving struct {
	LogicalID string `json:"logical_id"`
	Undone    bool   `json:"undone,omitempty"` // what made it is being rolled back
	*ResourceState
}

// keeps reports whether the resource's policy keeps it.
func (l Leaving) keeps() bool {
	return l.OnDelete == retain || l.OnDelete == retainExceptOnCreate && !l.Undone
}

// The policies that keep a resource. The second deletes it when the deployment that makes it is rolled back.
const (
	retain               = "Retain"
	retainExceptOnCreate = "RetainExceptOnCreate"
)

// ResourceState is one resource as it was last provisioned.
type ResourceState struct {
	Type       string         `json:"type"`
	Ref        string         `json:"ref"`
	Attributes map[string]any `json:"attributes,omitempty"`
	Properties map[string]any `json:"properties,omitempty"`
	Metadata   map[string]any `json:"metadata,omitempty"`
	CodeHash   string         `json:"code_hash,omitempty"` // of a custom resource's function
	Generation int            `json:"generation,omitempty"`
	Begun      bool           `json:"begun,omitempty"` // it is being made, or could not be
	Needs      []string       `json:"needs,omitempty"` // logical ids of what it refers to
	OnDelete   string         `json:"on_delete,omitempty"`
	OnReplace  string         `json:"on_replace,omitempty"`
	// Declared is a digest of the declaration, and Consumed what it read of other stacks, by stack and output.
	Declared string            `json:"declared,omitempty"`
	Consumed map[string]string `json:"consumed,omitempty"`
	// Adopt says that it is to be taken over, if it exists.
	Adopt bool `json:"-"`
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
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber() // as in a template
	if err := dec.Decode(s); err != nil {
		return nil, fmt.Errorf("reading stacks from %s: %w; remove the state directory to start over", path, err)
	}
	for _, stack := range s.Stacks {
		if stack.Status == "" && len(stack.Resources) > 0 { // written before stacks had a status
			stack.Status = CreateComplete
		}
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

// importer names a stack that imports what another exports, "" if none does.
func (s *State) importer(export string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range sortedKeys(s.Stacks) {
		if slices.Contains(s.Stacks[name].Imports, export) {
			return name
		}
	}
	return ""
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

// Created reports whether a stack was created, whatever became of its updates.
func (s *State) Created(stack string) bool {
	status := s.Status(stack)
	return !status.creating() && !status.creationFailed()
}

// Status returns a stack's status, "" if there is no such stack.
func (s *State) Status(stack string) Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	if st := s.Stacks[stack]; st != nil {
		return st.Status
	}
	return ""
}

// taken reports whether a resource of that type and physical id is in a stack, or was left behind by one.
func (s *State) taken(typ, ref string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, stack := range s.Stacks {
		all := slices.AppendSeq(slices.Collect(maps.Values(stack.Resources)), maps.Values(stack.Before))
		for _, gone := range stack.Gone {
			all = append(all, gone.ResourceState)
		}
		if slices.ContainsFunc(all, func(r *ResourceState) bool { return r.Type == typ && r.Ref == ref }) {
			return true
		}
	}
	return slices.ContainsFunc(s.Retained, func(r Retained) bool { return r.Type == typ && r.Ref == ref })
}

// stack returns a stack's state, with an id that is made once and stays as long as the stack does.
func (s *State) stack(name, arnPrefix string) *StackState {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.Stacks[name]
	if st == nil {
		st = &StackState{ID: arnPrefix + name + "/" + uuid()}
		s.Stacks[name] = st
	}
	if st.Resources == nil {
		st.Resources = map[string]*ResourceState{}
	}
	if st.Generations == nil {
		st.Generations = map[string]int{}
	}
	return st
}

// note changes the state under its lock. What it changed is on disk once the next update returns.
func (s *State) note(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// update changes the state under its lock and writes it to disk before it returns.
func (s *State) update(change func()) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
	raw, err := json.Marshal(s)
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
