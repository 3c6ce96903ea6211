package main

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"testing"
	"time"

	"github.com/stile-dev/stile/agent/status"
	"github.com/stile-dev/stile/pkg/escape/escapetest"
	"github.com/stile-dev/stile/pkg/fault"
)

// TestSec_S52_WhatAProxySaysGivesNoOrders to the terminal of an administrator who runs install or status, or reads the log.
func TestSec_S52_WhatAProxySaysGivesNoOrders(t *testing.T) {
	refused := status.Refusal{Code: "denied", Reason: escapetest.Orders, Hint: escapetest.Orders}
	dir, ended := t.TempDir(), make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		ended <- status.Serve(ctx, dir, func() status.Status { return status.Status{Refusals: []status.Refusal{refused}} })
	}()
	defer func() { cancel(); <-ended }()
	var out, errs, log bytes.Buffer
	var err error
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(30 * time.Second); out.Len() == 0 && time.Now().Before(end); <-tick.C { // until it listens
		err = ask(ctx, dir, "", false, &out)
	}
	var s status.Status
	if err := json.Unmarshal(out.Bytes(), &s); err != nil || s.Refusals[0] != refused {
		t.Errorf("%q is read as %+v, %v", out.String(), s, err)
	}
	if code := report(&errs, err); code != fault.Unreachable.Exit() {
		t.Errorf("ends with %d: %v", code, err)
	}
	logger(&log, slog.LevelInfo).Warn("Refused", "reason", escapetest.Orders)
	escapetest.Line(t, log.String(), "reason")
	for _, text := range []string{out.String(), errs.String()} {
		escapetest.Safe(t, text)
	}
}
