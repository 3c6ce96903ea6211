package spool

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"github.com/stile-dev/stile/pkg/audit"
)

// number says which event is meant: the one of this number in an epoch of a source. The zero number is none.
type number struct {
	source, epoch string
	seq           uint64
}

// next numbers an event. The first event of an epoch also holds the last number of the epoch before, so that a reader notices
// when the end of that one is missing. An agent that joined again under another id starts at 1 and refers to no earlier epoch.
func (s *Spool) next(source string) (n number, after string) {
	n = number{source, s.config.Epoch, 1}
	switch last := s.last; {
	case last.source != source:
	case last.epoch == n.epoch:
		n.seq = last.seq + 1
	default:
		after = last.epoch + ":" + strconv.FormatUint(last.seq, 10)
	}
	return n, after
}

// restore learns of the last event of an earlier run.
func (s *Spool) restore(n number) {
	if s.last.epoch != n.epoch || s.last.seq < n.seq {
		s.last = n
	}
}

// lastIn returns the number of the last event in a segment's bytes, if there is one.
func lastIn(b []byte) (number, bool) {
	lines := bytes.Split(bytes.TrimRight(b, "\n"), []byte("\n"))
	e, err := audit.Parse(lines[len(lines)-1])
	if err != nil || e.SourceEpoch == "" {
		return number{}, false
	}
	return number{e.Source, e.SourceEpoch, e.Seq}, true
}

// lastOf reads the number of the last event from what the cursor's file says behind the position.
func lastOf(cursor string) (n number) {
	_, rest, _ := strings.Cut(cursor, "\n")
	if _, err := fmt.Sscanf(rest, "%s %s %d\n", &n.source, &n.epoch, &n.seq); err != nil {
		return number{}
	}
	return n
}

// delivered is what the cursor's file says: how far delivery has got, and the last event's number.
func (s *Spool) delivered() []byte {
	b := fmt.Appendf(nil, "%d %d\n", s.at.segment, s.at.offset)
	if s.last.seq == 0 {
		return b
	}
	return fmt.Appendf(b, "%s %s %d\n", s.last.source, s.last.epoch, s.last.seq)
}
