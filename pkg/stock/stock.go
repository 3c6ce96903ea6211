// Package stock keeps the agent's programs where servers can get them: in the bucket of documents, each under its digest.
// [Keeper] answers CloudFormation's custom resource for one of them, and copies it there from where the CDK uploaded it;
// [Shelf] hands out URLs for those that there are. Nothing is deleted or replaced.
//
// It doesn't know what the programs do. Its entry points are [NewKeeper] and [NewShelf].
package stock

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path"
	"regexp"
	"slices"

	"github.com/aws/aws-lambda-go/cfn"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"

	"github.com/stile-dev/stile/pkg/asset"
	"github.com/stile-dev/stile/pkg/custom"
	"github.com/stile-dev/stile/pkg/fault"
)

// Prefix is what the keys of programs begin with.
const Prefix = "agent/"

// maxProgram bounds what is read; an agent has some 15 MB.
const maxProgram = 64 << 20

// S3 is what is used of the object store.
type S3 interface {
	asset.S3
	PutObject(context.Context, *s3.PutObjectInput, ...func(*s3.Options)) (*s3.PutObjectOutput, error)
}

// Keeper copies programs to the bucket.
type Keeper struct {
	s3     S3
	bucket string
	log    *slog.Logger
}

// NewKeeper makes a keeper of what is in a bucket.
func NewKeeper(store S3, bucket string, log *slog.Logger) *Keeper { return &Keeper{store, bucket, log} }

// Handler is what Lambda starts: it answers CloudFormation by the URL in the event.
func (k *Keeper) Handler() func(context.Context, json.RawMessage) (any, error) {
	return custom.Handle(k.log, k.Answer)
}

var nameForm = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)

// Answer carries out one event: its data is the Key at which the program is.
func (k *Keeper) Answer(ctx context.Context, e cfn.Event) (map[string]any, error) {
	var from asset.File
	var name string
	for property, into := range map[string]*string{"Bucket": &from.Bucket, "Key": &from.Key, "Sha256": &from.SHA256, "Name": &name} {
		if *into, _ = e.ResourceProperties[property].(string); *into == "" {
			return nil, fault.Newf(fault.BadInput, "run make synth, then deploy StileControl again", "the property %s is missing", property)
		}
	}
	if !nameForm.MatchString(name) {
		return nil, fault.Newf(fault.BadInput, "run make synth, then deploy StileControl again", "%.70q can't be the name of a program", name)
	}
	program, err := asset.Fetch(ctx, k.s3, from, maxProgram)
	if err != nil {
		return nil, err
	}
	key := Prefix + path.Join(from.SHA256, name)
	if err := k.put(ctx, asset.File{Bucket: k.bucket, Key: key, SHA256: from.SHA256}, program); err != nil {
		return nil, err
	}
	return map[string]any{"Key": key}, nil
}

// taken are S3's answers when a key has an object, or is just getting one.
var taken = []string{"PreconditionFailed", "ConditionalRequestConflict"}

// put stores a program under a key that has none yet, the only way in which the bucket's policy lets anybody write. What has
// the key already must be the same.
func (k *Keeper) put(ctx context.Context, f asset.File, program []byte) error {
	_, err := k.s3.PutObject(ctx, &s3.PutObjectInput{
		Bucket: &f.Bucket, Key: &f.Key, Body: bytes.NewReader(program), ContentType: aws.String("application/octet-stream"),
		IfNoneMatch: aws.String("*"),
	})
	if api, ok := errors.AsType[smithy.APIError](err); ok && slices.Contains(taken, api.ErrorCode()) {
		_, err = asset.Fetch(ctx, k.s3, f, maxProgram)
		return err
	}
	if err != nil {
		return fmt.Errorf("storing the program at s3://%s/%s: %w", f.Bucket, f.Key, err)
	}
	return nil
}
