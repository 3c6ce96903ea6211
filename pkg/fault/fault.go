// Package fault is the one error type that crosses a boundary of the system: a stable code, a sentence,
// what to do next, and a cause that is kept for logs and never shown.
//
// It knows no protocol; its table says how each code looks in HTTP, gRPC and as an exit status.
// Its entry point is [New].
package fault

import (
	"errors"
	"fmt"
	"time"
)

// Code says what kind of thing went wrong. Codes are stable: scripts match on them.
type Code string

// The codes. Their HTTP statuses, gRPC codes and exit statuses are in [Code.HTTP], [Code.GRPC] and [Code.Exit].
const (
	Internal        Code = "internal"
	BadInput        Code = "bad_input"
	Unauthenticated Code = "unauthenticated"
	Expired         Code = "expired"
	Denied          Code = "denied"
	NotFound        Code = "not_found"
	Unreachable     Code = "unreachable"
	NoTunnel        Code = "no_tunnel" // a proxy has no tunnel to the target; another may
	Conflict        Code = "conflict"
	Quarantined     Code = "quarantined"
	TooLarge        Code = "too_large"
	RateLimited     Code = "rate_limited"
	Unavailable     Code = "unavailable"
)

// row is what a code looks like outside.
type row struct {
	http int
	grpc uint32
	exit int
	name string
}

// table is the only place that maps codes. gRPC numbers are those of google.rpc.Code.
var table = map[Code]row{
	Internal:        {500, 13, 1, "Internal error"},
	BadInput:        {400, 3, 2, "Bad input"},
	Unauthenticated: {401, 16, 3, "Not logged in"},
	Expired:         {401, 16, 3, "Credential expired"},
	Denied:          {403, 7, 4, "Access denied"},
	NotFound:        {404, 5, 5, "Not found"},
	Unreachable:     {502, 14, 6, "Unreachable"},
	NoTunnel:        {502, 14, 6, "No tunnel"},
	Conflict:        {409, 10, 7, "Conflict"},
	Quarantined:     {409, 9, 7, "Quarantined"},
	TooLarge:        {413, 11, 2, "Too large"},
	RateLimited:     {429, 8, 6, "Too many requests"},
	Unavailable:     {503, 14, 6, "Unavailable"},
}

func (c Code) row() row {
	if r, ok := table[c]; ok {
		return r
	}
	return table[Internal]
}

// HTTP returns the status of the problem document; an unknown code is 500.
func (c Code) HTTP() int { return c.row().http }

// GRPC returns the number in google.rpc.Code.
func (c Code) GRPC() uint32 { return c.row().grpc }

// Exit returns the exit status of stile for this code (1–7).
func (c Code) Exit() int { return c.row().exit }

// Passes reports whether time alone may clear the fault, so that a person may be told when to try again.
func (c Code) Passes() bool { return c.row().grpc == 14 || c.row().grpc == 8 }

// Title returns a short name for people, the same for every fault with the code.
func (c Code) Title() string { return c.row().name }

// Known reports whether the code is one of this package's.
func (c Code) Known() bool { _, ok := table[c]; return ok }

// Field is one faulty input.
type Field struct {
	Path   string `json:"path"`   // where it is, such as spec.allow.logins[0] or line 3, column 7
	Reason string `json:"reason"` // what is wrong with it
}

// Fault is an error that a person or a program outside may see, except for its cause.
type Fault struct {
	Code       Code          // what kind
	Message    string        // lower case, no full stop: "node web-1 is offline"
	Hint       string        // what to do next, imperative; may be empty only for Internal
	Fields     []Field       // faulty inputs
	DecisionID string        // dec_…: the audit event with this id says why
	RetryAfter time.Duration // how long a program that tries again waits at least; 0 leaves it to the program
	cause      error
}

// New makes a fault. Message and hint are shown, so they must not contain secrets.
func New(code Code, message, hint string) *Fault {
	return &Fault{Code: code, Message: message, Hint: hint}
}

// Newf is New with a formatted message.
func Newf(code Code, hint, format string, args ...any) *Fault {
	return &Fault{Code: code, Message: fmt.Sprintf(format, args...), Hint: hint}
}

// Because attaches the cause, for logs only, and returns the fault.
func (f *Fault) Because(err error) *Fault { f.cause = err; return f }

// With adds a faulty field and returns the fault.
func (f *Fault) With(path, reason string) *Fault {
	f.Fields = append(f.Fields, Field{path, reason})
	return f
}

// Error returns the message alone; the cause is not shown.
func (f *Fault) Error() string { return f.Message }

// Unwrap returns the cause, for errors.Is in logs and tests.
func (f *Fault) Unwrap() error { return f.cause }

// From finds the fault in err's chain. An error without one is Internal: its text becomes the cause
// and is not shown. From(nil) is nil.
func From(err error) *Fault {
	if err == nil {
		return nil
	}
	if f, ok := errors.AsType[*Fault](err); ok {
		return f
	}
	return New(Internal, "something went wrong inside Stile",
		"try again; if it keeps happening, give the request id to your administrator").Because(err)
}

// Is reports whether err's chain has a fault with the code.
func Is(err error, code Code) bool {
	f, ok := errors.AsType[*Fault](err)
	return ok && f.Code == code
}
