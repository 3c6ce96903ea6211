package main

import (
	"math"
	"slices"
	"time"
)

// sample is what was measured several times, in one unit.
type sample []float64

// quantile gives the value below which a share q of the sample lies, between neighbours by their distance; NaN for an
// empty sample.
func (s sample) quantile(q float64) float64 {
	if len(s) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(s))
	at := q * float64(len(sorted)-1)
	low := int(math.Floor(at))
	high := min(low+1, len(sorted)-1)
	return sorted[low] + (at-float64(low))*(sorted[high]-sorted[low])
}

func (s sample) median() float64 { return s.quantile(0.5) }

// ms gives a duration in milliseconds.
func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// interleaved calls each of fns in turn, round by round, so that what else the machine does falls on all of them alike.
// The first round warms up and does not count.
func interleaved(rounds int, fns []func() (float64, error)) ([]sample, error) {
	out := make([]sample, len(fns))
	for round := range rounds + 1 {
		for i, fn := range fns {
			v, err := fn()
			if err != nil {
				return nil, err
			}
			if round > 0 {
				out[i] = append(out[i], v)
			}
		}
	}
	return out, nil
}
