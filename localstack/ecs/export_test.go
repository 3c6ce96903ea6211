package ecs

import (
	"time"

	"github.com/stile-dev/stile/localstack/process"
)

// Unconfined is how a task runs where it can't be confined.
func (h *Host) Unconfined(s process.Spec) process.Spec { return h.unconfined(s) }

// Watch is watch.
type Watch = watch

// NewWatch watches tasks that have to listen by limit and to stay up for hold.
func NewWatch(limit time.Time, hold time.Duration) *Watch { return &watch{limit: limit, hold: hold} }

// Judge is judge.
var Judge = (*watch).judge

// Hold is how long new tasks have to stay up, if others leave in their favour or not.
func (h *Host) Hold(leave bool) time.Duration {
	if leave {
		return h.hold(fleet{fresh: []int{1}, leave: []int{0}})
	}
	return h.hold(fleet{fresh: []int{1}})
}
