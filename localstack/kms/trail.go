package kms

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/stile-dev/stile/localstack/gate"
	"github.com/stile-dev/stile/localstack/iam"
)

// Event is a line of cloudtrail.ndjson: the part of a CloudTrail event that tells who used which key. The
// digest or message is not in it, as it is not in CloudTrail.
type Event struct {
	EventTime         time.Time      `json:"eventTime"`
	EventSource       string         `json:"eventSource"`
	EventName         string         `json:"eventName"`
	AWSRegion         string         `json:"awsRegion"`
	SourceIPAddress   string         `json:"sourceIPAddress"`
	UserIdentity      UserIdentity   `json:"userIdentity"`
	RequestParameters map[string]any `json:"requestParameters"`
	RequestID         string         `json:"requestID"`
	ReadOnly          bool           `json:"readOnly"` // also for a use of a key
	Resources         []Resource     `json:"resources"`
	ErrorCode         string         `json:"errorCode,omitempty"`
	ErrorMessage      string         `json:"errorMessage,omitempty"`
}

// UserIdentity is who called.
type UserIdentity struct {
	Type        string `json:"type"`
	PrincipalID string `json:"principalId"`
	ARN         string `json:"arn"`
	AccountID   string `json:"accountId"`
	AccessKeyID string `json:"accessKeyId"`

	SessionContext *SessionContext `json:"sessionContext,omitempty"` // of a role's session alone
}

// SessionContext is whose session it is.
type SessionContext struct {
	SessionIssuer Issuer `json:"sessionIssuer"`
}

// Issuer is the role of a session.
type Issuer struct {
	Type      string `json:"type"`
	ARN       string `json:"arn"`
	AccountID string `json:"accountId"`
	UserName  string `json:"userName"`
}

// Resource is a key that was used.
type Resource struct {
	ARN  string `json:"ARN"`
	Type string `json:"type"`
}

// parameterNames maps the condition keys of an operation to what CloudTrail calls its parameters.
var parameterNames = map[string]string{
	"kms:SigningAlgorithm": "signingAlgorithm", "kms:MessageType": "messageType", "kms:MacAlgorithm": "macAlgorithm",
}

func (s *Service) event(r *request, err error) Event {
	c := r.call
	e := Event{
		EventTime: c.Time.UTC(), EventSource: "kms.amazonaws.com", EventName: r.name, AWSRegion: c.Region,
		SourceIPAddress: c.HTTP.RemoteAddr, RequestID: c.RequestID, RequestParameters: map[string]any{},
		Resources: []Resource{}, UserIdentity: identityOf(c.Principal), ReadOnly: !slices.Contains(changing, r.name),
	}
	for name, v := range r.param {
		if known, ok := parameterNames[name]; ok {
			e.RequestParameters[known] = v
		}
	}
	if r.key != nil {
		e.RequestParameters["keyId"] = s.keyARN(r.key)
		e.Resources = append(e.Resources, Resource{ARN: s.keyARN(r.key), Type: "AWS::KMS::Key"})
	}
	if r.alias != "" {
		e.RequestParameters["keyId"] = r.alias
	}
	if err != nil {
		e.ErrorCode, e.ErrorMessage = "InternalException", "internal failure"
		if known, ok := errors.AsType[*gate.Error](err); ok {
			e.ErrorCode, e.ErrorMessage = known.Code, known.Message
		}
	}
	return e
}

// changing are the operations that are no reads to CloudTrail.
var changing = []string{
	"CancelKeyDeletion", "CreateAlias", "CreateKey", "DeleteAlias", "DisableKey", "EnableKey", "ScheduleKeyDeletion",
}

func identityOf(p *iam.Principal) UserIdentity {
	u := UserIdentity{Type: "IAMUser", PrincipalID: p.UserID, ARN: p.ARN, AccountID: p.Account, AccessKeyID: p.AccessKeyID}
	if p.Kind == iam.AssumedRole {
		u.Type = "AssumedRole"
		u.SessionContext = &SessionContext{Issuer{"Role", p.RoleARN, p.Account, p.RoleName}}
	}
	return u
}

// trail appends events to a file, one line each, whole lines only.
type trail struct {
	mu   sync.Mutex
	file *os.File
}

func openTrail(dir string) (*trail, error) {
	f, err := os.OpenFile(filepath.Join(dir, "cloudtrail.ndjson"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	return &trail{file: f}, nil
}

func (t *trail) record(e Event) error {
	raw, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("encoding the trail's event: %w", err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, err := t.file.Write(append(raw, '\n')); err != nil {
		return fmt.Errorf("writing the trail: %w", err)
	}
	return nil
}

func (t *trail) close() error { return t.file.Close() }
