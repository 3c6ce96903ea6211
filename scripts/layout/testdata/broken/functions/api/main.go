// Command api may only read items, and writes some.
package main

import (
	db "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	_ "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	_ "github.com/aws/aws-sdk-go-v2/service/sns"
	_ "github.com/stile-dev/stile/pkg/store/lost"
	_ "github.com/stile-dev/stile/pkg/table"
)

func main() {
	c := db.NewFromConfig(f.AWS)
	c.PutItem(ctx, &db.PutItemInput{})
	s3.NewFromConfig(f.AWS)
}
