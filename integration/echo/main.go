// Command echo is an agent like stile-agent, but for one more service: for targets of kind app it sends back what it
// is sent. It shows what a new protocol takes, and tests run it; the product does not contain it.
//
// Its entry point is main.
package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"github.com/stile-dev/stile/agent/config"
	"github.com/stile-dev/stile/agent/inner"
	"github.com/stile-dev/stile/agent/serve"
	"github.com/stile-dev/stile/agent/session"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: echo FILE, an agent's configuration")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	c, err := config.Read(os.Args[1])
	if err == nil {
		err = serve.Run(ctx, c, serve.Options{Software: "echo", Services: services, Log: slog.New(slog.NewJSONHandler(os.Stderr, nil))})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "echo:", err)
		os.Exit(1) //nolint:gocritic // nothing is left to defer
	}
}

// services are the product's and echo's.
func services(p serve.Parts) map[string]session.Service {
	all := maps.Clone(serve.Product(p))
	all["app"] = inner.New(inner.Config{
		Documents: p.Documents, Certificate: p.Certificate, Sessions: p.Sessions, Log: p.Log, Handle: echo,
	})
	return all
}

// echo serves one session.
func echo(_ context.Context, s *session.Session, stream net.Conn) session.Result {
	n, err := io.Copy(s.Output().Writer(stream, session.Stdout), stream)
	result := session.Result{Data: map[string]string{"bytes": strconv.FormatInt(n, 10)}}
	if err != nil {
		result.Outcome, result.Reason = "failure", "the connection broke"
	}
	return result
}
