package ecs

import "github.com/stile-dev/stile/localstack/process"

// Unconfined is how a task runs where it can't be confined.
func (h *Host) Unconfined(s process.Spec) process.Spec { return h.unconfined(s) }
