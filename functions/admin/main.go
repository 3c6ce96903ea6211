// Command admin is the function of this name; see functions' table in the design and pkg/app for what it is made of.
package main

import (
	"context"
	"log"

	"github.com/aws/aws-lambda-go/lambda"

	"github.com/stile-dev/stile/pkg/app"
)

func main() {
	server, err := app.Admin(context.Background())
	if err != nil {
		log.Fatalf("Starting admin: %v", err)
	}
	lambda.Start(server.Serve)
}
