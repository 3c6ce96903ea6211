// Command sign-user has no API, and serves.
package main

import (
	_ "net/http"

	_ "github.com/awslabs/aws-lambda-go-api-proxy/httpadapter"
	_ "github.com/stile-dev/stile/pkg/api/answer"
	_ "github.com/stile-dev/stile/pkg/app/relay"
)
