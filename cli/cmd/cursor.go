package cmd

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stile-dev/stile/cli/output"
	"github.com/stile-dev/stile/cli/profile"
	"github.com/stile-dev/stile/pkg/durable"
	"github.com/stile-dev/stile/pkg/fault"
)

// cursor says how far an export has come, in a file. It never says more than what has left the export.
type cursor struct {
	path  string
	place place
	there bool // the file is
}

// place is the file's content.
type place struct {
	V       int                 `json:"v"` // 1
	Cluster string              `json:"cluster"`
	User    string              `json:"user"` // who may see what it is about
	From    time.Time           `json:"from"` // everything received before was exported
	To      time.Time           `json:"to"`   // nothing received from then on was
	Seen    [][sha256.Size]byte `json:"-"`    // what was exported of that between them
	Keys    [][]byte            `json:"seen,omitempty"`
	Sum     string              `json:"sum,omitempty"` // hex SHA-256 of this without it
}

// mostCursor is how many bytes a cursor has at most: mostSeen keys of 47 bytes, and some.
const mostCursor = 8 << 20

// writeCursor puts the file in place whole.
var writeCursor = durable.Write

// retention is how long the ledger keeps what it received.
const retention = 30 * 24 * time.Hour

func (p place) sum() (string, error) {
	p.Sum = ""
	b, err := json.Marshal(p)
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), err
}

// openCursor reads a cursor, or says that there is none yet.
func openCursor(path string, who profile.Credential) (*cursor, error) {
	c := &cursor{path: path, place: place{V: 1, Cluster: who.Cluster, User: who.User}}
	p, err := readPlace(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return c, nil
	case err != nil:
		return nil, fault.Newf(fault.BadInput, "restore the file from a copy, or name one that isn't there and say by --since where to begin again: what was exported since then comes once more", "%.200s is not a whole cursor of an export", path).Because(err)
	case p.V != 1:
		return nil, fault.Newf(fault.BadInput, "update stile, or name another file", "%.200s is a cursor of form %d, which this release doesn't know", path, p.V)
	case p.Cluster != who.Cluster || p.User != who.User:
		return nil, fault.Newf(fault.Conflict, "log in as that user, or name another file and say by --since where to begin",
			"%.200s is the cursor of user %.100q at cluster %.100q, and you are %q at %q", path, p.User, p.Cluster, who.User, who.Cluster)
	}
	c.place, c.there = p, true
	return c, nil
}

// readPlace reads the file. What was cut or altered is an error.
func readPlace(path string) (p place, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return p, err
	}
	if !info.Mode().IsRegular() || info.Size() > mostCursor {
		return p, errors.New("it isn't a file of that size")
	}
	f, err := os.Open(path)
	if err != nil {
		return p, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, mostCursor))
	if err != nil {
		return p, err
	}
	if err := json.Unmarshal(b, &p); err != nil {
		return p, err
	}
	if p.V != 1 {
		return p, nil
	}
	for _, key := range p.Keys {
		if len(key) != sha256.Size {
			return p, errors.New("it names an event that can't be one")
		}
		p.Seen = append(p.Seen, [sha256.Size]byte(key))
	}
	if sum, err := p.sum(); err != nil || sum != p.Sum {
		return p, errors.Join(err, errors.New("it was altered"))
	}
	return p, nil
}

// save says that an export has come further. It fails when another process has moved the cursor meanwhile.
func (c *cursor) save(p place) error {
	now, err := readPlace(c.path)
	if errors.Is(err, fs.ErrNotExist) && !c.there {
		err = nil
	}
	if err != nil || now.Sum != c.place.Sum {
		return fault.Newf(fault.Conflict, "end the other export, or give each its own cursor; then type the command again", "another process has written %.200s meanwhile", c.path).Because(err)
	}
	p.V, p.Cluster, p.User, p.Keys = c.place.V, c.place.Cluster, c.place.User, nil
	for _, key := range p.Seen {
		p.Keys = append(p.Keys, key[:])
	}
	if p.Sum, err = p.sum(); err != nil {
		return fmt.Errorf("writing a cursor: %w", err)
	}
	b, err := json.Marshal(p)
	if err == nil {
		err = writeCursor(c.path, append(b, '\n'))
	}
	if err != nil {
		return fault.Newf(fault.Internal, "free room on the disk, or see who may write there; then type the command again: what came since the cursor comes once more", "the cursor %.200s can't be written", c.path).Because(err)
	}
	c.place, c.there = p, true
	return nil
}

// outlet is the file that an export is appended to. What a crash has left of a line is no event, and goes; so that what another export
// is in the middle of isn't taken for that, a file has one at a time.
func outlet(path string, goesOn bool, format output.Format) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fault.Newf(fault.BadInput, "name a file in a directory that is there and that you may write", "%.200s can't be opened", path).Because(err)
	}
	info, err := f.Stat()
	switch {
	case err != nil:
	case !info.Mode().IsRegular():
		err = fault.Newf(fault.BadInput, "leave out -o and redirect standard output", "%.200s is not a file", path)
	case errors.Is(unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB), unix.EWOULDBLOCK): // a file system without locks has none to break
		err = fault.Newf(fault.Conflict, "wait until the other export has ended, or give each its own file", "another export is writing %.200s", path)
	case info.Size() > 0 && !goesOn:
		err = fault.Newf(fault.Conflict, "name a file that isn't there yet, or the --cursor by which that one was begun", "%.200s has something in it already", path)
	case info.Size() > 0:
		err = mend(f, info.Size(), format)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// longestLine is more than an event takes on a line, as OCSF says it too.
const longestLine = 8 << 20

// formatOf tells which format of an export a line is of; "" for another.
func formatOf(line []byte) output.Format {
	var l struct {
		ClassUID int    `json:"class_uid"`
		Standing string `json:"standing"`
	}
	switch err := json.Unmarshal(line, &l); {
	case err == nil && l.ClassUID > 0:
		return formatOCSF
	case err == nil && l.Standing != "":
		return formatNDJSON
	}
	return ""
}

// mend cuts off what is behind the last whole line, of a file whose last event is in the format.
func mend(f *os.File, size int64, format output.Format) error {
	from := max(0, size-longestLine)
	tail := make([]byte, size-from)
	if _, err := f.ReadAt(tail, from); err != nil {
		return fmt.Errorf("reading the end of %s: %w", f.Name(), err)
	}
	end := int64(bytes.LastIndexByte(tail, '\n') + 1)
	if end == 0 && from > 0 {
		return fault.Newf(fault.BadInput, "name another file", "%.200s ends with a line that is too long for an event", f.Name())
	}
	if whole := tail[:end]; end > 0 {
		whole = whole[bytes.LastIndexByte(whole[:end-1], '\n')+1:]
		if formatOf(whole) != format {
			return fault.Newf(fault.Conflict, "name another file, or the format by which that one was begun", "%.200s ends with a line that isn't %s", f.Name(), format)
		}
	}
	if from+end == size {
		return nil
	}
	return f.Truncate(from + end)
}
