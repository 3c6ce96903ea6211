// Package relay serves by itself, and calls a service.
package relay

import (
	web "net/http"

	"github.com/aws/aws-lambda-go/events"
	_ "github.com/aws/aws-sdk-go-v2/service/s3"
	_ "github.com/awslabs/aws-lambda-go-api-proxy/httpadapter"
)

// Serve is what only a function with an API does; a client does not matter.
func Serve(w web.ResponseWriter, _ *web.Request, _ events.APIGatewayProxyRequest) {
	_ = web.Client{}
	_ = web.ListenAndServe("", nil)
}
