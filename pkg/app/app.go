// Package app begins a function: it reads the environment and the AWS configuration, and makes the logger.
// What only one function needs is put together in its own folder.
//
// It makes no AWS client. Its entry point is [Begin].
package app

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"

	"github.com/stile-dev/stile/pkg/escape"
	"github.com/stile-dev/stile/pkg/names"
)

// Function is what every function begins with.
type Function struct {
	*Environment

	AWS     aws.Config
	Cluster string // id
	Log     *slog.Logger
}

// Begin reads what a function is given. [Environment.Err] reports what is missing, once everything was asked for.
func Begin(ctx context.Context, name string) (Function, error) {
	cfg, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return Function{}, fmt.Errorf("reading the AWS configuration: %w", err)
	}
	env := NewEnvironment(os.Getenv)
	cluster := env.Need(names.EnvCluster)
	return Function{env, cfg, cluster, logger(os.Stdout, name, cluster)}, nil
}

// logger writes lines that are safe for a terminal too: people read the logs of functions in one.
func logger(w io.Writer, function, cluster string) *slog.Logger {
	return slog.New(slog.NewJSONHandler(escape.JSONWriter(w), nil)).With(slog.String("function", function), slog.String("cluster", cluster))
}
