package app_test

import (
	"bytes"
	"testing"

	"github.com/stile-dev/stile/pkg/app"
	"github.com/stile-dev/stile/pkg/escape/escapetest"
)

func TestSec_S52_AFunctionsLogGivesNoOrders(t *testing.T) {
	var log bytes.Buffer
	app.Logger(&log, "api", "c").Error("Refused", "reason", escapetest.Orders)
	escapetest.Line(t, log.String(), "reason")
}
