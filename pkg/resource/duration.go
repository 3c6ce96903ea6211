package resource

import (
	"fmt"
	"time"
)

// Duration is a time.Duration written as Go writes it: 8h, 90m, 1h30m.
type Duration time.Duration

// MarshalText writes the duration, such as 8h0m0s.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads a duration such as 8h; negative ones are refused.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	if bare := string(b) == "0"; err != nil || v < 0 || bare { // 0 is the one number that Go takes without a unit
		return fmt.Errorf("%q is not a duration; write 30m, 8h or 1h30m", b)
	}
	*d = Duration(v)
	return nil
}
