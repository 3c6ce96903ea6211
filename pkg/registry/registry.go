// Package registry answers CloudFormation's custom resource for the proxy's image: it reads the program that the CDK
// uploaded, makes its image and pushes it to a repository of ECR. Nothing is deleted, neither in an update, since the
// tasks of before still run the image of before, nor with the resource: the repository goes with its stack.
//
// It doesn't know what the program does, and leaves how CloudFormation is answered to package custom. Its entry point is [Pusher.Handler].
package registry

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"

	"github.com/aws/aws-lambda-go/cfn"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/stile-dev/stile/pkg/custom"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/image"
)

// maxProgram bounds what is read; a proxy has some 20 MB. The function's memory holds it three times.
const maxProgram = 128 << 20

// S3 is what is used of the object store.
type S3 interface {
	GetObject(context.Context, *s3.GetObjectInput, ...func(*s3.Options)) (*s3.GetObjectOutput, error)
}

// Config is what a Pusher works with. All of it is required.
type Config struct {
	ECR ECR
	S3  S3
	Log *slog.Logger
}

// Pusher makes and pushes images.
type Pusher struct{ config Config }

// New makes a Pusher.
func New(c Config) *Pusher { return &Pusher{config: c} }

// order is what the resource's properties say.
type order struct {
	bucket, key     string // of the program
	repository, uri string
	architecture    string
	sha256          string // of the program, as hex digits
}

func read(properties map[string]any) (order, error) {
	var o order
	for name, into := range map[string]*string{
		"Bucket": &o.bucket, "Key": &o.key, "Repository": &o.repository, "RepositoryUri": &o.uri, "Architecture": &o.architecture,
		"Sha256": &o.sha256,
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

// ByPath has an S3 client address buckets by path: the bucket's name needs no host name.
func ByPath(o *s3.Options) { o.UsePathStyle = true }

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
	program, err := p.fetch(ctx, o)
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

// fetch reads the program, and refuses another than the one that was built: the CDK uploads nothing to a name that is
// taken, whoever took it.
func (p *Pusher) fetch(ctx context.Context, o order) ([]byte, error) {
	got, err := p.config.S3.GetObject(ctx, &s3.GetObjectInput{Bucket: &o.bucket, Key: &o.key})
	if err != nil {
		return nil, fmt.Errorf("reading the program from s3://%s/%s: %w", o.bucket, o.key, err)
	}
	defer func() { _ = got.Body.Close() }()
	program, err := io.ReadAll(io.LimitReader(got.Body, maxProgram+1))
	if err != nil {
		return nil, fmt.Errorf("reading the program from s3://%s/%s: %w", o.bucket, o.key, err)
	}
	if len(program) > maxProgram {
		return nil, fault.Newf(fault.BadInput, "make it smaller with -ldflags '-s -w', as the CDK app does", "the program has more than %d bytes", maxProgram)
	}
	if got := fmt.Sprintf("%x", sha256.Sum256(program)); got != o.sha256 {
		return nil, fault.Newf(fault.BadInput,
			"delete that object and deploy StileFleet again, so that the CDK uploads the program once more; if it differs then, find out who else writes to the bucket",
			"the program at s3://%s/%s is not the one that was built: its SHA-256 is %s, and the template says %s", o.bucket, o.key, got, o.sha256)
	}
	return program, nil
}
