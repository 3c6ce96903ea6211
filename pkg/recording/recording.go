// Package recording is the form of a session's recording: what it showed, as asciicast v2 lines in chunks that are hashed into
// a chain, and a manifest that the agent's host key signs.
//
// The chunks of a recording, one after another, are one zstd file: zstd -dc prints an asciicast. Each begins with a
// skippable frame that says which chunk of which session it is and what the one before hashes to. Nothing here reads a clock,
// a file or the network. Its entry points are [NewChunk], [OpenChunk], [Lines] and [OpenManifest].
package recording

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"strconv"
	"time"

	"github.com/stile-dev/stile/pkg/identity"
)

// Bounds on what is written and on what a reader takes.
const (
	MaxChunk    = 2 << 20   // bytes of a chunk
	PutUnit     = 64 << 10  // bytes that an agent puts, or a part of them, count as one
	MaxText     = 8 << 20   // bytes of a chunk's lines
	MaxChunks   = 200_000   // of a recording
	MaxManifest = 64 << 10  // bytes of a manifest
	MaxCommand  = 128 << 10 // bytes of a command: what Linux accepts as one argument
	maxHeader   = 4 << 10   // bytes of a chunk's header
	maxLine     = 1 << 20   // bytes of a line that a reader takes: an agent writes at most 64 KiB of output as one
)

// ManifestName is the manifest's name beside the chunks.
const ManifestName = "manifest.json"

// Head says what a recording is of. It stands in the first chunk.
type Head struct {
	Session  string    `json:"session"` // ses_<ulid>
	Cluster  string    `json:"cluster"` // id
	Agent    string    `json:"agent"`   // agt_<ulid>
	Target   string    `json:"target"`  // kind/name
	User     string    `json:"user"`
	UID      string    `json:"uid"` // the user's
	Login    string    `json:"login"`
	Terminal bool      `json:"terminal"`
	Started  time.Time `json:"started"` // the agent's clock
	Command  string    `json:"-"`       // byte for byte; "" for a shell
	Term     string    `json:"-"`       // TERM
	Width    int       `json:"-"`       // columns; 80 without a terminal
	Height   int       `json:"-"`       // rows; 24 without a terminal
}

// Carry is what the chunk before ended with of a character that was not complete, at most 3 bytes each.
type Carry struct {
	Stdout []byte `json:"stdout,omitempty"`
	Stderr []byte `json:"stderr,omitempty"`
}

// Place is where a chunk is in its recording.
type Place struct {
	Session string `json:"session"`
	Seq     int    `json:"seq"`    // from 0
	Before  string `json:"before"` // hex SHA-256 of the chunk before; "" for the first
	Carry   Carry  `json:"carry,omitzero"`
}

// The streams of a session that has no terminal. A terminal has the first alone.
const (
	Stdout byte = 'o'
	Stderr byte = 'e'
)

// ChunkName is a chunk's name: 00000000.zst.
func ChunkName(seq int) string { return fmt.Sprintf("%08d.zst", seq) }

var chunkName = regexp.MustCompile(`^([0-9]{8})\.zst$`)

// ParseName reads the name of a recording's object.
func ParseName(name string) (seq int, manifest bool, err error) {
	if name == ManifestName {
		return 0, true, nil
	}
	m := chunkName.FindStringSubmatch(name)
	if m == nil {
		return 0, false, fmt.Errorf("%.64q is neither a chunk's name nor %s", name, ManifestName)
	}
	seq, err = strconv.Atoi(m[1])
	if err == nil && seq >= MaxChunks {
		err = fmt.Errorf("%s: a recording has at most %d chunks", name, MaxChunks)
	}
	return seq, false, err
}

// Prefix is where a session's recording is in its bucket: recordings/<day>/<session>/, by the day on which the session's id
// was made, UTC.
func Prefix(session string) (string, error) {
	made, err := identity.SessionTime(session)
	if err != nil {
		return "", err
	}
	return "recordings/" + made.Format(time.DateOnly) + "/" + session + "/", nil
}

// Hash is a chunk's SHA-256 in hex.
func Hash(chunk []byte) string {
	sum := sha256.Sum256(chunk)
	return hex.EncodeToString(sum[:])
}
