// Command image is the function of this name: it makes the proxy's image and pushes it to the stack's repository, so that
// a deployment needs no builder of images.
package main

import (
	"context"
	"log"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/stile-dev/stile/pkg/app"
	"github.com/stile-dev/stile/pkg/asset"
	"github.com/stile-dev/stile/pkg/registry"
)

func main() {
	handle, err := assemble(context.Background())
	if err != nil {
		log.Fatalf("Starting image: %v", err)
	}
	lambda.Start(handle)
}

func assemble(ctx context.Context) (any, error) {
	f, err := app.Begin(ctx, "image")
	if err != nil {
		return nil, err
	}
	p := registry.New(registry.Config{
		ECR: ecr.NewFromConfig(f.AWS), S3: s3.NewFromConfig(f.AWS, asset.ByPath), Log: f.Log,
	})
	return p.Handler(), f.Err()
}
