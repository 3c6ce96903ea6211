package rule

import (
	"fmt"
	"slices"
)

// Fewest is how many samples the life of a process has at least before it is judged.
const Fewest = 6

// Margin is by how much a figure may be higher in the end: a fixed amount, or a fraction of what it was at first,
// whichever is more.
type Margin struct{ Fixed, Fraction float64 }

// Growth compares the median of the last third of samples, taken in quiet moments, with that of the first third. It
// judges nothing of fewer than [Fewest].
func Growth(samples []float64) (first, last float64, enough bool) {
	if len(samples) < Fewest {
		return 0, 0, false
	}
	third := len(samples) / 3
	return median(samples[:third]), median(samples[len(samples)-third:]), true
}

// Grew judges a growth: "" is within the margin.
func Grew(what string, first, last float64, m Margin) string {
	if last-first <= max(m.Fixed, m.Fraction*first) {
		return ""
	}
	return fmt.Sprintf("%s went from %.1f to %.1f", what, first, last)
}

func median(samples []float64) float64 {
	s := slices.Sorted(slices.Values(samples))
	n := len(s)
	if n%2 == 1 {
		return s[n/2]
	}
	return (s[n/2-1] + s[n/2]) / 2
}
