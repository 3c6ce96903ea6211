package sshd_test

import (
	"strings"
	"testing"

	"github.com/stile-dev/stile/agent/sshd"
	"github.com/stile-dev/stile/pkg/escape/escapetest"
	"github.com/stile-dev/stile/pkg/fault"
)

// TestSec_S52_ARefusalGivesTheUsersTerminalNoOrders, with whatever reason it was given.
func TestSec_S52_ARefusalGivesTheUsersTerminalNoOrders(t *testing.T) {
	said := sshd.Sentence(fault.New(fault.Denied, escapetest.Orders, escapetest.Orders))
	escapetest.Safe(t, strings.ReplaceAll(said, "\r\n", "\n"))
	if lines := strings.Count(said, "\r\n"); lines != 2 {
		t.Errorf("%d lines: %q", lines, said)
	}
}
