// Command stile-proxy is one task of the proxy fleet: one port for agents' tunnels and users' connections.
//
// It reads its configuration from the environment alone. Its entry point is main.
package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	_ "golang.org/x/crypto/x509roots/fallback" // public roots: the image holds nothing but this program

	"github.com/stile-dev/stile/pkg/escape"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/proxy/config"
	"github.com/stile-dev/stile/proxy/serve"
)

func main() {
	stop, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	c, err := config.Read(os.LookupEnv)
	if err == nil {
		err = serve.Run(stop, c, logger(os.Stdout))
	}
	if err == nil {
		return
	}
	os.Exit(report(os.Stderr, err)) //nolint:gocritic // nothing is left to defer
}

func logger(w io.Writer) *slog.Logger {
	return slog.New(slog.NewJSONHandler(escape.JSONWriter(w), nil))
}

// report writes an error and its hint, and returns the status to end with.
func report(w io.Writer, err error) int {
	f := fault.From(err)
	message := f.Message
	if f.Code == fault.Internal {
		message = err.Error()
	}
	fmt.Fprintf(w, "stile-proxy: error: %s\n", escape.Text(message))
	if f.Hint != "" {
		fmt.Fprintf(w, "stile-proxy: hint: %s\n", escape.Text(f.Hint))
	}
	return f.Code.Exit()
}
