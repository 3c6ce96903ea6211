// Command stock is the function of this name: it copies the agent's programs, which the CDK uploaded, to where servers can
// get them.
package main

import (
	"context"
	"log"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/stile-dev/stile/pkg/app"
	"github.com/stile-dev/stile/pkg/asset"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/stock"
)

func main() {
	handle, err := assemble(context.Background())
	if err != nil {
		log.Fatalf("Starting stock: %v", err)
	}
	lambda.Start(handle)
}

func assemble(ctx context.Context) (any, error) {
	f, err := app.Begin(ctx, "stock")
	if err != nil {
		return nil, err
	}
	k := stock.NewKeeper(s3.NewFromConfig(f.AWS, asset.ByPath), f.Need(names.EnvBucketDocuments), f.Log)
	return k.Handler(), f.Err()
}
