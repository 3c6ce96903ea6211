// Command infra is Stile's CDK app. The CDK's command line runs it, by cdk.json in the repository's root:
//
//	npx aws-cdk@2.1148.1 deploy --all …          see docs/deploy.md
//
// It builds the functions and the proxy for arm64 first, so that what is deployed is what is checked out. The templates that
// are committed for review, and that the local AWS runs, are written without building anything:
//
//	go -C infra run . -write templates           what `make synth` does
//
// There the name of each function's zip and of the proxy's file, a hash of its bytes, is a fixed word, and so is the
// SHA-256 of the proxy's file; nothing else differs. What is written thus depends on no compiler.
// Settings, which are the CDK's context, are taken from where its command line puts them: CDK_CONTEXT_JSON='{"stile:…":"…"}'.
package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/aws/jsii-runtime-go"
	"github.com/stile-dev/stile/infra/code"
	"github.com/stile-dev/stile/infra/stack"
	"github.com/stile-dev/stile/infra/synth"
)

func main() {
	write := flag.String("write", "", "write the templates into this `directory`, for review, instead of synthesising for a deployment")
	flag.Parse()
	if err := run(*write); err != nil {
		fmt.Fprintln(os.Stderr, "infra:", err)
		os.Exit(1)
	}
}

func run(write string) error {
	defer jsii.Close()
	const root = ".."
	api, err := os.ReadFile(filepath.Join(root, "openapi.yaml"))
	if err != nil {
		return fmt.Errorf("reading the API's document: %w", err)
	}
	if write != "" {
		return synth.Write(write, stack.Config{API: api, Code: code.Named, Program: code.Placed})
	}
	files, err := code.Build(context.Background(), root, stack.Functions(), stack.Programs())
	if err != nil {
		return err
	}
	return synth.Deploy(output(root), stack.Config{API: api, Code: files.Function, Program: files.Program})
}

// output is where the CDK's command line, which runs in root, will read: it says so relative to itself.
func output(root string) string {
	dir := cmp.Or(os.Getenv("CDK_OUTDIR"), filepath.Join("infra", "cdk.out"))
	if filepath.IsAbs(dir) {
		return dir
	}
	return filepath.Join(root, dir)
}
