package stand

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"
)

// Fault is what POST /_local/fault takes.
type Fault struct {
	Service     string  `json:"service"`
	Operation   string  `json:"operation,omitempty"`
	Kind        string  `json:"kind"`
	Probability float64 `json:"probability,omitempty"`
	LatencyMS   int     `json:"latency_ms,omitempty"`
	Code        string  `json:"code,omitempty"`
	Status      int     `json:"status,omitempty"`
}

// Misbehave has the local AWS behind the person's endpoint misbehave, until [Person.Behave].
func (p *Person) Misbehave(f Fault) error {
	body, err := json.Marshal(f)
	if err != nil {
		return err
	}
	return p.order(http.MethodPost, "fault", body)
}

// Behave ends all faults.
func (p *Person) Behave() error { return p.order(http.MethodDelete, "fault", nil) }

// Flush has delivery streams deliver what they keep.
func (p *Person) Flush() error { return p.order(http.MethodPost, "flush", nil) }

// order tells the local AWS what to do, and is obeyed even by an interrupted run.
func (p *Person) order(method, what string, body []byte) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, p.Env["AWS_ENDPOINT_URL"]+"/_local/"+what, bytes.NewReader(body))
	if err != nil {
		return err
	}
	res, err := (&http.Transport{}).RoundTrip(req)
	if err != nil {
		return fmt.Errorf("ordering a %s: %w", what, err)
	}
	defer res.Body.Close()
	if res.StatusCode >= http.StatusBadRequest {
		text, _ := io.ReadAll(io.LimitReader(res.Body, 1<<10))
		return fmt.Errorf("ordering a %s: %s: %s", what, res.Status, text)
	}
	return nil
}
