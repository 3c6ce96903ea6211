package proof

import (
	"encoding/json"
	"fmt"

	"github.com/stile-dev/stile/pkg/wire"
)

// UserRequest is what functions/login sends: the evidence unchanged, and where it came from.
type UserRequest struct {
	Method     string          `json:"method"` // whose evidence this is
	Challenge  string          `json:"challenge"`
	SSHKey     []byte          `json:"ssh_key"` // SubjectPublicKeyInfo, DER
	TLSKey     []byte          `json:"tls_key"` // another key
	TTLSeconds int64           `json:"ttl_seconds"`
	Evidence   json.RawMessage `json:"evidence"`
	RequestID  string          `json:"request_id"`
	SourceIP   string          `json:"source_ip"`
}

// HostRequest is what functions/join sends: the evidence unchanged, and where it came from. The method is iam when
// there is an STS request, else token.
type HostRequest struct {
	Join      wire.JoinRequest `json:"join"`
	STS       *wire.STSRequest `json:"sts,omitempty"`
	Secret    string           `json:"secret,omitempty"`
	RequestID string           `json:"request_id"`
	SourceIP  string           `json:"source_ip"`
}

// IAMEvidence writes a signed request as evidence.
func IAMEvidence(sts wire.STSRequest) (json.RawMessage, error) {
	b, err := json.Marshal(sts)
	if err != nil {
		return nil, fmt.Errorf("writing the evidence: %w", err)
	}
	return b, nil
}
