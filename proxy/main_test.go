package main

import (
	"bytes"
	"testing"

	"github.com/stile-dev/stile/pkg/escape/escapetest"
	"github.com/stile-dev/stile/pkg/fault"
)

func TestSec_S52_WhatAPeerSaysGivesNoOrders(t *testing.T) {
	var errs, log bytes.Buffer
	if code := report(&errs, fault.New(fault.Denied, escapetest.Orders, escapetest.Orders)); code != fault.Denied.Exit() {
		t.Errorf("ends with %d", code)
	}
	escapetest.Safe(t, errs.String())
	logger(&log).Warn("Refused", "reason", escapetest.Orders)
	escapetest.Line(t, log.String(), "reason")
}
