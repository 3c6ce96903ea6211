// Command stile-proxy is one task of the proxy fleet: one port for agents' tunnels and users' connections.
//
// It reads its configuration from the environment alone. Its entry point is main.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	_ "golang.org/x/crypto/x509roots/fallback" // public roots: the image holds nothing but this program

	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/proxy/config"
	"github.com/stile-dev/stile/proxy/serve"
)

func main() {
	stop, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	c, err := config.Read(os.LookupEnv)
	if err == nil {
		err = serve.Run(stop, c, slog.New(slog.NewJSONHandler(os.Stdout, nil)))
	}
	if err == nil {
		return
	}
	f := fault.From(err)
	message := f.Message
	if f.Code == fault.Internal {
		message = err.Error()
	}
	fmt.Fprintf(os.Stderr, "stile-proxy: error: %s\n", message)
	if f.Hint != "" {
		fmt.Fprintf(os.Stderr, "stile-proxy: hint: %s\n", f.Hint)
	}
	os.Exit(f.Code.Exit()) //nolint:gocritic // nothing is left to defer
}
