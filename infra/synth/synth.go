// Package synth runs the CDK over the stacks: [Deploy] for its command line, [Templates] and [Write] for readers.
// It must not know what the stacks declare. Each synthesis is made twice: the first one's templates say what
// resources consume of other stacks, and the second's say it in their metadata. To rewrite templates afterwards
// would not do, since the list of assets names each by its hash.
package synth

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/stile-dev/stile/infra/consume"
	"github.com/stile-dev/stile/infra/stack"
)

// validate makes the CDK's bundled, offline validator fail a synthesis in which it finds a fault.
const validate = "@aws-cdk/core:validateAgainstDefaultRules"

// Context is the CDK's context, beside the one that its command line hands over in CDK_CONTEXT_JSON.
type Context map[string]any

// Deploy synthesises into dir for the CDK's command line, which uploads what the stacks' code refers to.
func Deploy(dir string, cfg stack.Config) error {
	first, err := templates(cfg, nil)
	if err != nil {
		return err
	}
	if cfg.Consumed, err = consume.Digests(first); err != nil {
		return err
	}
	return Run(dir, nil, func(app awscdk.App) error { return stack.New(app, cfg) })
}

// Run makes an app, lets declare fill it, and synthesises it into dir. What declare, the CDK or its validator finds
// wrong is an error.
func Run(dir string, context Context, declare func(awscdk.App) error) (err error) {
	defer recovered(&err)
	all := map[string]any{validate: true}
	maps.Copy(all, context)
	app := awscdk.NewApp(&awscdk.AppProps{
		Outdir: &dir, AnalyticsReporting: new(false), TreeMetadata: new(false), Context: &all,
	})
	if err := declare(app); err != nil {
		return err
	}
	app.Synth(nil)
	return nil
}

// Templates synthesises and returns the templates by stack name, as indented JSON with sorted keys.
func Templates(cfg stack.Config, context Context) (map[string][]byte, error) {
	first, err := templates(cfg, context)
	if err != nil {
		return nil, err
	}
	if cfg.Consumed, err = consume.Digests(first); err != nil {
		return nil, err
	}
	return templates(cfg, context)
}

// templates synthesises once.
func templates(cfg stack.Config, context Context) (map[string][]byte, error) {
	dir, err := os.MkdirTemp("", "stile-synth-")
	if err != nil {
		return nil, fmt.Errorf("synthesising: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }() // a directory left among the system's temporary ones does no harm
	if err := Run(dir, context, func(app awscdk.App) error { return stack.New(app, cfg) }); err != nil {
		return nil, err
	}
	out := map[string][]byte{}
	for _, name := range []string{stack.Data, stack.Control, stack.Audit, stack.Fleet} {
		raw, err := os.ReadFile(filepath.Join(dir, name+".template.json"))
		if err != nil {
			return nil, fmt.Errorf("reading what was synthesised: %w", err)
		}
		if out[name], err = normal(raw); err != nil {
			return nil, fmt.Errorf("reading template %s: %w", name, err)
		}
	}
	return out, nil
}

// Write synthesises and writes <stack>.json for each stack into dir.
func Write(dir string, cfg stack.Config) error {
	templates, err := Templates(cfg, nil)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(templates)) {
		if err := os.WriteFile(filepath.Join(dir, name+".json"), templates[name], 0o644); err != nil { //nolint:gosec // committed, so readable by all
			return fmt.Errorf("writing template %s: %w", name, err)
		}
	}
	return nil
}

// recovered turns a panic of the CDK, which is how it reports what is wrong with a stack, into an error.
func recovered(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("synthesising: %v", r)
	}
}

func normal(raw []byte) ([]byte, error) {
	var v any
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	if err := dec.Decode(&v); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", " ")
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
