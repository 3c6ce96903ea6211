package app

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/stile-dev/stile/pkg/fault"
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

// Number returns a variable that must be a whole number of 1 or more.
func (e *Environment) Number(name string) uint64 {
	v := e.Need(name)
	if v == "" {
		return 0
	}
	n, err := strconv.ParseUint(v, 10, 16)
	if err != nil || n == 0 {
		e.faults = append(e.faults, fmt.Errorf("%s is %q and must be a whole number of 1 or more; the function's template sets it", name, v))
	}
	return n
}

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
	m, err := resource.ParseMatch(v)
	if err != nil {
		e.faults = append(e.faults, fmt.Errorf("%s: %w", name, err))
	}
	return m
}

// Administrator returns the first administrator; the zero value if none is set. What is wrong with it is not collected but
// returned, as a fault for whoever calls the function: it starts all the same, to say why it does nothing.
func (e *Environment) Administrator() (resource.IAMMatch, error) {
	v := e.lookup(names.EnvBootstrapAdmin)
	if v == "" {
		return resource.IAMMatch{}, nil
	}
	m, err := resource.ParseAdministrator(v)
	if err != nil {
		return resource.IAMMatch{}, fault.New(fault.Internal, "the cluster isn't told who its first administrator is, and admits nobody until it is",
			"ask an administrator of the AWS account to deploy StileControl again with a valid BootstrapAdmin; the function's log says what is wrong").Because(err)
	}
	return m, nil
}

// Err returns all that is wrong, or nil.
func (e *Environment) Err() error {
	if len(e.faults) == 0 {
		return nil
	}
	return fmt.Errorf("reading the environment: %w", errors.Join(e.faults...))
}
