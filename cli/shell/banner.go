package shell

import (
	"crypto/rand"
	"strings"
	"sync"
)

// maxBanner is how much of a node's words is kept.
const maxBanner = 4 << 10

// banner gathers what a node says before it lets somebody in; it says there why it doesn't.
type banner struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *banner) add(message string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if room := maxBanner - b.text.Len(); room > 0 {
		b.text.WriteString(message[:min(len(message), room)])
	}
	return nil
}

func (b *banner) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// traceID names this connection in the logs of the proxy and of the agent.
func traceID() string { return strings.ToLower(rand.Text()) }
