package template

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"time"

	"github.com/stile-dev/stile/localstack/resource"
)

// Custom is what custom resources need from the rest of the local AWS.
type Custom struct {
	// Invoke runs the function that a ServiceToken names; an error is the function's own failure.
	Invoke func(ctx context.Context, functionARN string, payload []byte) error
	// CodeHash names the function's current build; a change is a reason to send an Update.
	CodeHash func(functionARN string) (string, error)
	// Mailbox returns a presigned URL for one answer, and a function that fetches it: ok is false until it came.
	Mailbox func(ctx context.Context, id string) (url string, fetch func(context.Context) (answer []byte, ok bool, err error), err error)
	// Wait bounds one answer; 0 means the resource's ServiceTimeout, else two minutes.
	Wait time.Duration
}

// customEvent is what CloudFormation sends to the function of a custom resource.
type customEvent struct {
	RequestType           string
	ServiceToken          string
	ResponseURL           string
	StackID               string `json:"StackId"`
	RequestID             string `json:"RequestId"`
	LogicalResourceID     string `json:"LogicalResourceId"`
	PhysicalResourceID    string `json:"PhysicalResourceId,omitempty"`
	ResourceType          string
	ResourceProperties    map[string]any
	OldResourceProperties map[string]any `json:",omitempty"`
}

// customAnswer is what the function puts to ResponseURL.
type customAnswer struct {
	Status             string
	Reason             string
	PhysicalResourceID string `json:"PhysicalResourceId"`
	StackID            string `json:"StackId"`
	RequestID          string `json:"RequestId"`
	LogicalResourceID  string `json:"LogicalResourceId"`
	NoEcho             bool
	Data               map[string]any
}

// custom sends Create the first time, Update when the properties or the function's build changed, and
// nothing otherwise. AWS sends no Update for a new build alone: it can't see inside the function, and the
// CDK app changes a property for it. Here the build is seen, so that one `up` after a change re-runs it.
func (r *deployment) custom(ctx context.Context, res resource.Resource, before *ResourceState) (*ResourceState, error) {
	token, _ := res.Properties["ServiceToken"].(string)
	if token == "" {
		return nil, errors.New("property ServiceToken is missing")
	}
	hash, err := r.Custom.CodeHash(token)
	if err != nil {
		return nil, fmt.Errorf("property ServiceToken: %w", err)
	}
	properties := stringified(res.Properties).(map[string]any)
	if before != nil && before.CodeHash == hash && reflect.DeepEqual(before.Properties, properties) {
		return before, nil
	}
	event := customEvent{RequestType: "Create", ServiceToken: token, LogicalResourceID: res.LogicalID, ResourceType: res.Type, ResourceProperties: properties}
	if before != nil {
		event.RequestType, event.PhysicalResourceID, event.OldResourceProperties = "Update", before.Ref, before.Properties
	}
	answer, err := r.ask(ctx, event)
	if err != nil {
		return nil, err
	}
	return &ResourceState{Type: res.Type, Ref: answer.PhysicalResourceID, Attributes: answer.Data, Properties: properties, CodeHash: hash}, nil
}

func (r *deployment) deleteCustom(ctx context.Context, id string, gone *ResourceState) error {
	token, _ := gone.Properties["ServiceToken"].(string)
	_, err := r.ask(ctx, customEvent{
		RequestType: "Delete", ServiceToken: token, LogicalResourceID: id, PhysicalResourceID: gone.Ref,
		ResourceType: gone.Type, ResourceProperties: gone.Properties,
	})
	return err
}

// ask sends one event and waits for its answer. A function that fails without answering is reported at
// once; AWS would wait for its hour.
func (r *deployment) ask(ctx context.Context, event customEvent) (*customAnswer, error) {
	wait := r.Custom.Wait
	if seconds, err := strconv.Atoi(fmt.Sprint(event.ResourceProperties["ServiceTimeout"])); wait == 0 && err == nil && seconds > 0 {
		wait = time.Duration(seconds) * time.Second
	}
	if wait == 0 {
		wait = 2 * time.Minute
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	event.StackID, event.RequestID = r.state.ID, uuid()
	url, fetch, err := r.Custom.Mailbox(ctx, event.RequestID)
	if err != nil {
		return nil, fmt.Errorf("preparing the answer of a custom resource: %w", err)
	}
	event.ResponseURL = url
	payload, err := json.Marshal(event)
	if err != nil {
		return nil, fmt.Errorf("writing the event of a custom resource: %w", err)
	}
	r.Log.Info("Calling a custom resource", "stack", r.stack.Name, "resource", event.LogicalResourceID, "request_type", event.RequestType)
	finished := make(chan error, 1)
	go func() { finished <- r.Custom.Invoke(ctx, event.ServiceToken, payload) }()
	return r.await(ctx, event, fetch, finished)
}

func (r *deployment) await(ctx context.Context, event customEvent, fetch func(context.Context) ([]byte, bool, error), finished <-chan error) (*customAnswer, error) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		raw, ok, err := fetch(ctx)
		if err != nil && ctx.Err() == nil {
			return nil, fmt.Errorf("fetching the answer of a custom resource: %w", err)
		}
		if ok {
			return judge(event, raw)
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("the function gave no answer for %s: %w; see its log", event.RequestType, context.Cause(ctx))
		case err := <-finished:
			if err != nil {
				return nil, fmt.Errorf("the function failed on %s without an answer: %w", event.RequestType, err)
			}
			finished = nil
		case <-tick.C:
		}
	}
}

// judge reads an answer and refuses one that is not for this event.
func judge(event customEvent, raw []byte) (*customAnswer, error) {
	var answer customAnswer
	if err := json.Unmarshal(raw, &answer); err != nil {
		return nil, fmt.Errorf("reading the answer of a custom resource: %w", err)
	}
	if answer.RequestID != event.RequestID || answer.LogicalResourceID != event.LogicalResourceID || answer.StackID != event.StackID {
		return nil, errors.New("the function answered another request: RequestId, StackId and LogicalResourceId must come back unchanged")
	}
	switch answer.Status {
	case "SUCCESS":
		if answer.PhysicalResourceID == "" {
			return nil, errors.New("the function answered without PhysicalResourceId")
		}
		return &answer, nil
	case "FAILED":
		return nil, fmt.Errorf("the function answered FAILED on %s: %s", event.RequestType, answer.Reason)
	}
	return nil, fmt.Errorf("the function answered with status %q, which is neither SUCCESS nor FAILED", answer.Status)
}

// stringified writes every scalar as a string, as CloudFormation does with a custom resource's properties.
func stringified(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for key, item := range v {
			out[key] = stringified(item)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, item := range v {
			out[i] = stringified(item)
		}
		return out
	}
	if text, err := scalar(v); err == nil {
		return text
	}
	return v
}
