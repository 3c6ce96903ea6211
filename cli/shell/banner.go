package shell

import (
	"crypto/rand"
	"fmt"
	"io"
	"regexp"
	"strings"
	"sync"

	"github.com/stile-dev/stile/pkg/escape"
	"github.com/stile-dev/stile/pkg/fault"
)

// maxBanner is how much of a node's banner is kept.
const maxBanner = 4 << 10

// banner gathers what a node says before it admits a user, or why it doesn't.
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

// show prints it line by line, without anything that a terminal would obey.
func (b *banner) show(w io.Writer) {
	for line := range strings.Lines(b.String()) {
		_, _ = fmt.Fprintln(w, escape.Text(strings.TrimRight(line, "\r\n")))
	}
}

// How an agent writes a fault into a banner: RFC 4252 has no other place for the reason of a refusal.
const (
	wordError = "stile: error: "
	wordHint  = "stile: hint: "
)

var decision = regexp.MustCompile(` \((dec_[0-9a-z]+)\)$`)

// refusedLogin returns the refusal of the login, in the node's own words if it gave any.
func (c Config) refusedLogin(said string) *fault.Fault {
	f := fault.New(fault.Denied, "", "")
	var other []string
	for line := range strings.Lines(said) {
		line = strings.TrimSpace(line)
		if message, ok := strings.CutPrefix(line, wordError); ok {
			if f.Message == "" {
				f.Message = message
			}
		} else if hint, ok := strings.CutPrefix(line, wordHint); ok {
			if f.Hint == "" {
				f.Hint = hint
			}
		} else if line != "" {
			other = append(other, line)
		}
	}
	if f.Message == "" {
		f.Message = strings.Join(append([]string{"login " + c.Login + " was refused"}, other...), "; ")
	}
	if found := decision.FindStringSubmatch(f.Message); found != nil {
		f.DecisionID = found[1]
		f.Message = strings.TrimSuffix(f.Message, found[0])
	}
	f.Message = "node " + c.Node + ": " + f.Message
	if f.Hint == "" {
		f.Hint = "run stile ls to see the logins that you may use there; log in again if your roles changed"
	}
	return f
}

// traceID returns a name for this connection in the logs of the proxy and the agent.
func traceID() string { return strings.ToLower(rand.Text()) }
