package resource

import (
	"slices"
	"strings"
)

// Bounded reports whether a name, or every name that a pattern matches, belongs to a scope, and returns how such names
// end: below / they end with the scope's parts from the last to the first, as in web-1.prod.payments for /payments/prod.
// At / every name does.
func Bounded(pattern, scope string) (suffix string, ok bool) {
	parts := strings.FieldsFunc(scope, func(r rune) bool { return r == '/' })
	if len(parts) == 0 {
		return "", true
	}
	slices.Reverse(parts)
	suffix = "." + strings.Join(parts, ".")
	return suffix, len(pattern) > len(suffix) && strings.HasSuffix(pattern, suffix)
}
