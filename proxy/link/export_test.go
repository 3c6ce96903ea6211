package link

import "time"

// Came is callers.came of a copied agent that was cut at a time.
func Came(cut time.Time) func(instance string, now time.Time) time.Time {
	c := &callers{last: "a", at: cut, other: cut}
	return c.came
}

// Own returns how many streams that agents opened beside their control streams are not over yet.
func (l *Links) Own() (n int) {
	for _, k := range l.all() {
		n += int(k.own.Load())
	}
	return n
}
