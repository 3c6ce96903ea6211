package app

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/resource"
)

// Environment reads variables and collects what is wrong with them, so that it is all reported at once.
type Environment struct {
	lookup func(string) string
	faults []error
}

// NewEnvironment reads through lookup, which is os.Getenv.
func NewEnvironment(lookup func(string) string) *Environment { return &Environment{lookup: lookup} }

// Need returns a variable that must be set.
func (e *Environment) Need(name string) string {
	v := e.lookup(name)
	if v == "" {
		e.faults = append(e.faults, fmt.Errorf("%s is not set; the function's template sets it", name))
	}
	return v
}

// Optional returns a variable that may be unset.
func (e *Environment) Optional(name string) string { return e.lookup(name) }

// Key returns the ARN of the key of a purpose.
func (e *Environment) Key(purpose string) string {
	return e.Need(names.EnvKeyPrefix + strings.ToUpper(strings.ReplaceAll(purpose, "-", "_")))
}

// Match returns the AWS identity that a variable has as JSON; the zero value if it is unset.
func (e *Environment) Match(name string) resource.IAMMatch {
	v := e.lookup(name)
	if v == "" {
		return resource.IAMMatch{}
	}
	var m resource.IAMMatch
	if err := json.Unmarshal([]byte(v), &m); err != nil {
		e.faults = append(e.faults, fmt.Errorf("%s is not the JSON of an AWS identity: %w", name, err))
		return resource.IAMMatch{}
	}
	if err := m.Validate(); err != nil {
		e.faults = append(e.faults, fmt.Errorf("%s: %w", name, err))
		return resource.IAMMatch{}
	}
	return m
}

// Err returns all that is wrong, or nil.
func (e *Environment) Err() error {
	if len(e.faults) == 0 {
		return nil
	}
	return fmt.Errorf("reading the environment: %w", errors.Join(e.faults...))
}
