package rule

import (
	"fmt"
	"time"
)

// Probe is one attempt to use what was taken away.
type Probe struct {
	Taken    time.Time     // when whoever took it away was told that it is done
	Began    time.Time     // when the attempt began
	Bound    time.Duration // how long it may take until it's in force everywhere
	Admitted bool
}

// Admission judges a probe. One that began within the bound proves nothing, and isn't tried.
func Admission(p Probe) (tried bool, fault string) {
	since := p.Began.Sub(p.Taken)
	switch {
	case !p.Admitted:
		return true, ""
	case since < p.Bound:
		return false, ""
	}
	return true, fmt.Sprintf("let in %s after it was taken away", since.Round(time.Millisecond))
}

// Within judges how long something took.
func Within(what string, took, bound time.Duration) string {
	if took <= bound {
		return ""
	}
	return fmt.Sprintf("%s took %s, more than %s", what, took.Round(time.Millisecond), bound)
}
