// Package telemetry makes the loggers of functions: JSON lines with snake_case keys that say which function
// wrote them.
//
// Its entry point is [Logger].
package telemetry

import (
	"io"
	"log/slog"
)

// Logger writes to w as a function of a cluster.
func Logger(w io.Writer, function, cluster string) *slog.Logger {
	return slog.New(slog.NewJSONHandler(w, nil)).With(slog.String("function", function), slog.String("cluster", cluster))
}
