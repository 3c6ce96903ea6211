package template

import (
	"fmt"
	"regexp"
	"strings"
)

var placeholder = regexp.MustCompile(`\$\{[^}]*\}`)

// sub resolves Fn::Sub of a string.
func (s *Scope) sub(arg any) (any, error) {
	text, ok := arg.(string)
	if !ok {
		return nil, fmt.Errorf("takes a string")
	}
	var fault error
	out := placeholder.ReplaceAllStringFunc(text, func(hole string) string {
		value, err := s.substitute(hole[2 : len(hole)-1])
		if err != nil && fault == nil {
			fault = fmt.Errorf("%s: %w", hole, err)
		}
		return value
	})
	return out, fault
}

func (s *Scope) substitute(name string) (string, error) {
	var value any
	var err error
	if strings.Contains(name, ".") {
		value, err = s.getAtt(name)
	} else {
		value, err = s.ref(name)
	}
	if err != nil {
		return "", err
	}
	return scalar(value)
}
