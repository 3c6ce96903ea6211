package rule

import (
	"bytes"
	"encoding/json"
	"regexp"
	"time"
)

// The kinds of lines that must not be there.
const (
	Panic = "panic"
	Error = "error"
)

// Line is what a log's line says if it must not be there.
type Line struct {
	Kind string // Panic or Error
	At   time.Time
	Text string
}

// crash begins what the Go runtime says before it ends a program.
var crash = regexp.MustCompile(`^(panic: |fatal error: |runtime: goroutine stack exceeds|SIGSEGV|unexpected fault address)`)

// ReadLine returns what is wrong with a line of a log; ok is false for one that may be there.
func ReadLine(line []byte) (l Line, ok bool) {
	line = bytes.TrimSpace(line)
	if crash.Match(line) {
		return Line{Kind: Panic, Text: string(line)}, true
	}
	var record struct {
		Time  time.Time `json:"time"`
		Level string    `json:"level"`
	}
	if json.Unmarshal(line, &record) != nil {
		return Line{}, false
	}
	switch {
	case record.Level != "ERROR":
		return Line{}, false
	case bytes.Contains(line, []byte("panic: ")): // one that a handler caught
		return Line{Panic, record.Time, string(line)}, true
	}
	return Line{Error, record.Time, string(line)}, true
}

// dumped begins each goroutine in what a program says when it is sent SIGQUIT.
var dumped = regexp.MustCompile(`(?m)^goroutine \d+ .*\[`)

// Goroutines counts those of a dump.
func Goroutines(dump []byte) int { return len(dumped.FindAll(dump, -1)) }
