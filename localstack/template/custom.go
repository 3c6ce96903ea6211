package template

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"time"
)

// Custom is what custom resources need from the rest of the local AWS.
type Custom struct {
	// Invoke runs the function that a ServiceToken names; an error is the function's own failure.
	Invoke func(ctx context.Context, functionARN string, payload []byte) error
	// CodeHash names the function's current build; a change is a reason to send an Update.
	CodeHash func(functionARN string) (string, error)
	// Mailbox returns a presigned URL for one answer, and a function that fetches it: ok is false until it came.
	Mailbox func(ctx context.Context, id string) (url string, fetch func(context.Context) (answer []byte, ok bool, err error), err error)
	// Program finds what the metadata stile:binary of a custom resource names. Hash is its SHA-256, and upload puts it
	// where the resource's properties Bucket and Key say.
	Program func(name string) (hash string, upload func(ctx context.Context, bucket, key string) error, err error)
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
func (r *deployment) custom(ctx context.Context, id string, want, before *ResourceState) (*ResourceState, error) {
	token, _ := want.Properties["ServiceToken"].(string)
	if token == "" {
		return nil, errors.New("property ServiceToken is missing")
	}
	hash, err := r.Custom.CodeHash(token)
	if err != nil {
		return nil, fmt.Errorf("property ServiceToken: %w", err)
	}
	upload, err := r.program(want, &hash)
	if err != nil {
		return nil, err
	}
	made := *want
	made.CodeHash, made.Begun = hash, false
	create := before == nil || before.Begun
	if !create && before.CodeHash == hash && same(before.Properties, want.Properties) {
		made.Ref, made.Attributes = before.Ref, before.Attributes
		return &made, nil
	}
	if err := upload(ctx); err != nil {
		return nil, err
	}
	r.changed = true
	event := customEvent{RequestType: "Create", ServiceToken: token, LogicalResourceID: id, ResourceType: want.Type, ResourceProperties: want.Properties}
	if !create {
		event.RequestType, event.PhysicalResourceID, event.OldResourceProperties = "Update", before.Ref, before.Properties
		asked := *want // until it is answered it is neither what it was nor what it is to be
		asked.Ref, asked.Attributes, asked.CodeHash = before.Ref, before.Attributes, ""
		r.State.note(func() { r.state.Resources[id] = &asked })
	}
	answer, err := r.ask(ctx, event)
	if answer != nil && answer.PhysicalResourceID != "" {
		made.Ref, made.Attributes = answer.PhysicalResourceID, answer.Data
	}
	if err != nil {
		if create && made.Ref != "" {
			made.Begun = true
			r.State.note(func() { r.state.Resources[id] = &made })
		}
		return nil, err
	}
	return &made, r.State.update(func() { r.state.Resources[id] = &made })
}

// program is for a custom resource that is given a program. On AWS its key names its bytes; here it is always the same, so
// its hash counts to the build. Where the committed template has a fixed word in place of its SHA-256, what the CDK would
// have written stands there. And it is built for this machine, whatever architecture the template names.
func (r *deployment) program(want *ResourceState, hash *string) (upload func(context.Context) error, err error) {
	name, given := want.Metadata["stile:binary"].(string)
	if !given {
		return func(context.Context) error { return nil }, nil
	}
	found, put, err := r.Custom.Program(name)
	if err != nil {
		return nil, err
	}
	*hash += "-" + found
	if _, told := want.Properties["Architecture"]; told {
		want.Properties["Architecture"] = runtime.GOARCH
	}
	if want.Properties["Sha256"] == "BUILD-"+name {
		want.Properties["Sha256"] = found
	}
	bucket, _ := want.Properties["Bucket"].(string)
	key, _ := want.Properties["Key"].(string)
	return func(ctx context.Context) error { return put(ctx, bucket, key) }, nil
}

// deleteCustom sends Delete. One whose creation failed without a physical id has one that CloudFormation makes up.
func (r *deployment) deleteCustom(ctx context.Context, l Leaving) error {
	token, _ := l.Properties["ServiceToken"].(string)
	id := l.Ref
	if id == "" {
		id = PhysicalName(r.resource(l.LogicalID, l.ResourceState))
	}
	_, err := r.ask(ctx, customEvent{
		RequestType: "Delete", ServiceToken: token, LogicalResourceID: l.LogicalID, PhysicalResourceID: id,
		ResourceType: l.Type, ResourceProperties: l.Properties,
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
	r.Log.Info("Calling a custom resource", "stack", r.name, "resource", event.LogicalResourceID, "request_type", event.RequestType)
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
		return &answer, fmt.Errorf("the function answered FAILED on %s: %s", event.RequestType, answer.Reason)
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
