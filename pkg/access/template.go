package access

import (
	"fmt"
	"strings"

	"github.com/stile-dev/stile/pkg/identity"
)

// Template is a login as a role writes it. The only legal shapes are a literal, such as ubuntu, and one
// {{internal.<trait>}} or {{external.<trait>}}, with or without letters before and after it.
type Template struct {
	Literal string // when Trait is ""
	Prefix  string
	Trait   string // its values each make a login
	Suffix  string
}

// ParseTemplate reads a login. The error is a sentence for whoever wrote it.
func ParseTemplate(s string) (Template, error) {
	prefix, rest, found := strings.Cut(s, "{{")
	if !found {
		if !identity.ValidLogin(s) {
			return Template{}, badLogin(s)
		}
		return Template{Literal: s}, nil
	}
	inside, suffix, closed := strings.Cut(rest, "}}")
	if !closed {
		return Template{}, fmt.Errorf("%q opens {{ and doesn't close it", s)
	}
	if strings.ContainsAny(prefix+suffix, "{}") {
		return Template{}, fmt.Errorf("%q holds more than one {{…}}; one is taken", s)
	}
	source, trait, dotted := strings.Cut(strings.TrimSpace(inside), ".")
	if !dotted || source != "internal" && source != "external" || !traitKey.MatchString(trait) {
		return Template{}, fmt.Errorf("%q is no template; write {{internal.<trait>}} or {{external.<trait>}}", s)
	}
	if prefix != "" && !identity.ValidLogin(prefix) || suffix != "" && !identity.ValidLogin("x"+suffix) {
		return Template{}, badLogin(prefix + suffix)
	}
	return Template{Prefix: prefix, Trait: trait, Suffix: suffix}, nil
}

func badLogin(s string) error {
	return fmt.Errorf("%q can't be a login: 1–64 letters, digits and _ . + $ - are allowed, beginning with a letter, digit or _", s)
}

// Expand gives the logins that the template stands for with these traits, and the values that were dropped
// because no legal login came of them.
func (t Template) Expand(traits map[string][]string) (logins, dropped []string) {
	if t.Trait == "" {
		return []string{t.Literal}, nil
	}
	for _, v := range traits[t.Trait] {
		if l := t.Prefix + v + t.Suffix; identity.ValidLogin(l) {
			logins = append(logins, l)
		} else {
			dropped = append(dropped, v)
		}
	}
	return logins, dropped
}
