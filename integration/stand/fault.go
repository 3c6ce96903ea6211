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
	Count       int     `json:"count,omitempty"`
	LatencyMS   int     `json:"latency_ms,omitempty"`
	Code        string  `json:"code,omitempty"`
	Status      int     `json:"status,omitempty"`
	Hits        int     `json:"hits,omitempty"` // as [Person.Faults] tells
}

// Misbehave has the local AWS behind the person's endpoint misbehave, until [Person.Behave].
func (p *Person) Misbehave(f Fault) error {
	body, err := json.Marshal(f)
	if err != nil {
		return err
	}
	_, err = p.order(http.MethodPost, "fault", body)
	return err
}

// Behave ends all faults.
func (p *Person) Behave() error {
	_, err := p.order(http.MethodDelete, "fault", nil)
	return err
}

// Faults lists how the local AWS misbehaves, and how often it did.
func (p *Person) Faults() (all []Fault, err error) {
	text, err := p.order(http.MethodGet, "fault", nil)
	if err == nil {
		err = json.Unmarshal(text, &all)
	}
	return all, err
}

// Flush has delivery streams deliver what they keep.
func (p *Person) Flush() error {
	_, err := p.order(http.MethodPost, "flush", nil)
	return err
}

// order tells the local AWS what to do, and is obeyed even by an interrupted run.
func (p *Person) order(method, what string, body []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, p.Env["AWS_ENDPOINT_URL"]+"/_local/"+what, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	res, err := (&http.Transport{}).RoundTrip(req)
	if err != nil {
		return nil, fmt.Errorf("ordering a %s: %w", what, err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, 1<<16))
	if err != nil {
		return nil, fmt.Errorf("ordering a %s: %w", what, err)
	}
	if res.StatusCode >= http.StatusBadRequest {
		return nil, fmt.Errorf("ordering a %s: %s: %s", what, res.Status, text)
	}
	return text, nil
}
