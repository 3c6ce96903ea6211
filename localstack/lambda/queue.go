package lambda

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/stile-dev/stile/localstack/property"
	"github.com/stile-dev/stile/localstack/resource"
)

// queueSpec is AWS::SQS::Queue; a queue here only takes what failed, one JSON line each.
type queueSpec struct {
	MessageRetentionPeriod property.Int
	SqsManagedSseEnabled   property.Bool
}

func (h *Host) putQueue(r resource.Resource) (resource.Outcome, error) {
	var spec queueSpec
	if err := property.Decode(r.Properties, &spec); err != nil {
		return resource.Outcome{}, err
	}
	name := physicalName(r)
	a := h.Authority
	arn := h.queueARN(name)
	url := fmt.Sprintf("https://sqs.%s.amazonaws.com/%s/%s", a.Region(), a.Account(), name)
	h.mu.Lock()
	h.queues[arn] = filepath.Join(h.StateDir, "queue-"+name+".ndjson")
	h.mu.Unlock()
	return resource.Outcome{Ref: url, Attributes: map[string]any{"Arn": arn}}, nil
}

// dropQueue deletes a queue with what it holds.
func (h *Host) dropQueue(r resource.Resource) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	arn := h.queueARN(physicalName(r))
	path := h.queues[arn]
	delete(h.queues, arn)
	if err := os.Remove(path); path != "" && err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("deleting a queue: %w", err)
	}
	return nil
}

func (h *Host) queueARN(name string) string {
	a := h.Authority
	return fmt.Sprintf("arn:%s:sqs:%s:%s:%s", a.Partition(), a.Region(), a.Account(), name)
}

// bury appends a failed batch to the file of its destination.
func (h *Host) bury(destination string, message map[string]any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	path, ok := h.queues[destination]
	if !ok {
		h.Log.Error("A failure destination does not exist", "destination", destination)
		return
	}
	raw, err := json.Marshal(message)
	if err == nil {
		err = appendLine(path, raw)
	}
	if err != nil {
		h.Log.Error("A failed batch could not be kept", "destination", destination, "cause", err)
	}
}

func appendLine(path string, line []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	_, err = f.Write(append(line, '\n'))
	return err
}
