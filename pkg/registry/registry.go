// Package registry answers CloudFormation's custom resource for the proxy's image: it reads the program that the CDK
// uploaded, makes its image and pushes it to a repository of ECR. Nothing is deleted, neither in an update, since the
// tasks of before still run the image of before, nor with the resource: the repository goes with its stack.
//
// It doesn't know what the program does, and leaves how CloudFormation is answered to package custom. Its entry point is [Pusher.Handler].
package registry

import (
	"context"
	"encoding/json"
	"log/slog"

	"github.com/aws/aws-lambda-go/cfn"

	"github.com/stile-dev/stile/pkg/asset"
	"github.com/stile-dev/stile/pkg/custom"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/image"
)

// maxProgram bounds what is read; a proxy has some 20 MB. The function's memory holds it three times.
const maxProgram = 128 << 20

// Config is what a Pusher works with. All of it is required.
type Config struct {
	ECR ECR
	S3  asset.S3
	Log *slog.Logger
}

// Pusher makes and pushes images.
type Pusher struct{ config Config }

// New makes a Pusher.
func New(c Config) *Pusher { return &Pusher{config: c} }

// order is what the resource's properties say.
type order struct {
	program         asset.File
	repository, uri string
	architecture    string
}

func read(properties map[string]any) (order, error) {
	var o order
	for name, into := range map[string]*string{
		"Bucket": &o.program.Bucket, "Key": &o.program.Key, "Repository": &o.repository, "RepositoryUri": &o.uri, "Architecture": &o.architecture,
		"Sha256": &o.program.SHA256,
	} {
		if *into, _ = properties[name].(string); *into == "" {
			return order{}, fault.Newf(fault.BadInput, "run make synth, then deploy StileFleet again", "the property %s is missing", name)
		}
	}
	return o, nil
}

// Handler is what Lambda starts: it answers CloudFormation by the URL in the event.
func (p *Pusher) Handler() func(context.Context, json.RawMessage) (any, error) {
	return custom.Handle(p.config.Log, p.Answer)
}

// Answer carries out one event: its data is the Uri of the image, which names it by digest.
func (p *Pusher) Answer(ctx context.Context, e cfn.Event) (map[string]any, error) {
	uri, err := p.run(ctx, e.ResourceProperties)
	if err != nil {
		return nil, err
	}
	return map[string]any{"Uri": uri}, nil
}

func (p *Pusher) run(ctx context.Context, properties map[string]any) (string, error) {
	o, err := read(properties)
	if err != nil {
		return "", err
	}
	program, err := asset.Fetch(ctx, p.config.S3, o.program, maxProgram)
	if err != nil {
		return "", err
	}
	i, err := image.Build(program, o.architecture)
	if err != nil {
		return "", err
	}
	if err := p.push(ctx, o.repository, i); err != nil {
		return "", err
	}
	return o.uri + "@" + i.Digest(), nil
}
