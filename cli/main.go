// Package main is stile, the command line of engineers, administrators and auditors. Everything is in
// package cmd; this is its process.
package main

import (
	"context"
	"os"

	_ "golang.org/x/crypto/x509roots/fallback" // public roots, for a machine that has none

	"github.com/stile-dev/stile/cli/cmd"
)

func main() {
	os.Exit(cmd.Run(context.Background(), cmd.Process{
		Args: os.Args[1:], Getenv: os.Getenv, In: os.Stdin, Out: os.Stdout, Err: os.Stderr,
	}))
}
