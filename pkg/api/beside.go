package api

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/aws/aws-lambda-go/events"
)

// Beside makes a Lambda handler of the server and of calls, which gets what another function sends: an object that has this one name
// and no other. Nobody sends such a thing by the API: the names at the top of API Gateway's events are API Gateway's, many, and none
// of them the sender's choice. Who may invoke the function at all is for its role's and the function's policies.
func (s *Server) Beside(name string, calls func(context.Context, json.RawMessage) (any, error)) func(context.Context, json.RawMessage) (any, error) {
	return func(ctx context.Context, payload json.RawMessage) (any, error) {
		var top map[string]json.RawMessage
		if err := json.Unmarshal(payload, &top); err != nil {
			return nil, fmt.Errorf("reading an event: %w", err)
		}
		if _, call := top[name]; call && len(top) == 1 {
			return calls(ctx, payload)
		}
		var e events.APIGatewayProxyRequest
		if err := json.Unmarshal(payload, &e); err != nil {
			return nil, fmt.Errorf("reading an event of API Gateway: %w", err)
		}
		return s.Serve(ctx, e)
	}
}
