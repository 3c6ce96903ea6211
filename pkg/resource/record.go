package resource

import "slices"

// How sessions are recorded.
const (
	RecordOff        = "off"
	RecordBestEffort = "best-effort" // a session goes on when its recording can't
	RecordStrict     = "strict"      // a session ends when its recording can't go on
)

// AdmitWhenFull is the one value of a role's record_when_full.
const AdmitWhenFull = "admit"

// ways are the modes from the least to the strictest; "" says nothing.
var ways = []string{"", RecordOff, RecordBestEffort, RecordStrict}

// ValidRecord reports whether a mode is one that there is, or "".
func ValidRecord(mode string) bool { return slices.Contains(ways, mode) }

// Strictest returns the stricter of two modes. One that isn't known is strict.
func Strictest(a, b string) string {
	rank := func(mode string) int {
		if n := slices.Index(ways, mode); n >= 0 {
			return n
		}
		return len(ways) - 1
	}
	return ways[max(rank(a), rank(b))]
}
