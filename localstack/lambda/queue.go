package lambda

import (
	"encoding/json"
	"fmt"

	"github.com/stile-dev/stile/localstack/iam"
)

// Queues is where mappings tell of what they gave up, if their failure destination is a queue.
type Queues interface {
	// Send sends a message as a principal, whose policies and the queue's decide.
	Send(who *iam.Principal, context map[string][]string, arn, body string, attributes map[string]string) error
	// Has reports whether there is such a queue.
	Has(arn string) bool
}

// send tells a queue of a failed batch, as the function's role.
func (m *mapping) send(message map[string]any) error {
	raw, err := json.Marshal(message)
	if err != nil {
		return fmt.Errorf("encoding a failed batch: %w", err)
	}
	f, err := m.host.function(m.f)
	if err != nil {
		return err
	}
	who, err := m.host.principal(f)
	if err != nil {
		return err
	}
	return m.host.Queues.Send(who, nil, m.DestinationConfig.OnFailure.Destination, string(raw), nil)
}
