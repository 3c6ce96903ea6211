// Package recording plays, prints, exports, searches and verifies recordings of sessions, a chunk at a time.
//
// It reaches them through a [Source] and knows no network. Everything in a recording was written by others: what reaches a
// terminal passes [Filter] or is text in which nothing is an order. Its entry points are [Open], [Play] and [Verify].
package recording

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"time"

	"github.com/stile-dev/stile/pkg/recording"
	"github.com/stile-dev/stile/pkg/wire"
)

// Source has the objects of recordings.
type Source interface {
	// Objects returns a page of a recording's objects, all versions of them, the first for cursor "". Each is noted in the ledger.
	Objects(ctx context.Context, session, cursor string) (wire.RecordingObjects, error)
	// Fetch reads an object that a page has; one of more than so many bytes is an error.
	Fetch(ctx context.Context, o wire.RecordingObject, most int64) ([]byte, error)
}

// early is how long before a URL's end it is no longer begun with.
const early = 30 * time.Second

// Reader reads one recording. It may be read more than once, and holds one page of what there is at a time.
type Reader struct {
	source  Source
	session string
	now     func() time.Time
	first   wire.RecordingObjects // the first page, while its URLs are good
}

// Open returns a reader of a session's recording.
func Open(s Source, session string, now func() time.Time) *Reader {
	return &Reader{source: s, session: session, now: now}
}

// page returns a page whose URLs are good for a while.
func (r *Reader) page(ctx context.Context, cursor string) (wire.RecordingObjects, error) {
	if cursor == "" && r.now().Add(early).Before(r.first.ExpiresAt) {
		return r.first, nil
	}
	p, err := r.source.Objects(ctx, r.session, cursor)
	if err == nil && cursor == "" {
		r.first = p
	}
	return p, err
}

// object is one with its page.
type object struct {
	wire.RecordingObject
	again func(context.Context) (wire.RecordingObject, error) // with a URL that is good
}

// objects yields all versions of all objects, by name, of one name the newest first.
func (r *Reader) objects(ctx context.Context) iter.Seq2[object, error] {
	return func(yield func(object, error) bool) {
		for cursor, before := "", ""; ; {
			p, err := r.page(ctx, cursor)
			if err != nil {
				yield(object{}, err)
				return
			}
			at := cursor
			again := func(name, version string) func(context.Context) (wire.RecordingObject, error) {
				return func(ctx context.Context) (wire.RecordingObject, error) {
					if !r.now().Add(early).Before(p.ExpiresAt) {
						fresh, err := r.page(ctx, at)
						if err != nil {
							return wire.RecordingObject{}, err
						}
						p = fresh
					}
					i := slices.IndexFunc(p.Objects, func(o wire.RecordingObject) bool { return o.Name == name && o.Version == version })
					if i < 0 {
						return wire.RecordingObject{}, fmt.Errorf("%s has gone", name)
					}
					return p.Objects[i], nil
				}
			}
			list := slices.Clone(p.Objects) // p may be replaced meanwhile
			slices.SortStableFunc(list, func(a, b wire.RecordingObject) int { return cmp.Compare(a.Name, b.Name) })
			for _, o := range list {
				if !yield(object{o, again(o.Name, o.Version)}, nil) {
					return
				}
			}
			if p.Next == "" {
				return
			}
			if p.Next == before {
				yield(object{}, fmt.Errorf("listing the recording: the list goes in a circle"))
				return
			}
			cursor, before = p.Next, p.Next
		}
	}
}

// fetch reads an object.
func (r *Reader) fetch(ctx context.Context, o object, most int64) ([]byte, error) {
	fresh, err := o.again(ctx)
	if err != nil {
		return nil, err
	}
	return r.source.Fetch(ctx, fresh, most)
}

// Piece is a chunk of a recording as it is read.
type Piece struct {
	Seq   int
	Head  *recording.Head // of the first
	Text  []byte          // its lines as they are, the head's too
	Lines []byte          // without the head's
	Notes []string        // what is wrong here, for people: chunks that are missing, or that can't be read
}

// Pieces yields the chunks in order. What is missing or damaged doesn't end them: a piece says it, and may have nothing else.
// Of several versions of a chunk it is the oldest, since a chunk is written once. An error ends them.
func (r *Reader) Pieces(ctx context.Context) iter.Seq2[Piece, error] {
	return func(yield func(Piece, error) bool) {
		w := walk{reader: r}
		var oldest *object
		flush := func() bool {
			if oldest == nil {
				return true
			}
			o := *oldest
			oldest = nil
			p, err := w.chunk(ctx, o)
			return yield(p, err) && err == nil
		}
		var pending []string
		for o, err := range r.objects(ctx) {
			if err != nil {
				yield(Piece{}, err)
				return
			}
			if _, manifest, err := recording.ParseName(o.Name); err != nil || manifest {
				w.complete, w.abandoned = w.complete || manifest, w.abandoned || o.Name == recording.StatementName
				continue
			}
			if oldest != nil && oldest.Name != o.Name && !flush() {
				return
			}
			switch {
			case o.Deleted:
				pending = append(pending, "somebody marked "+o.Name+" as deleted")
			case oldest != nil:
				pending = append(pending, "there is more than one "+o.Name)
				oldest = &o
			default:
				oldest = &o
			}
			w.notes, pending = append(w.notes, pending...), nil
		}
		if !flush() {
			return
		}
		if last := w.rest(); len(last.Notes) > 0 {
			yield(last, nil)
		}
	}
}

// walk is how far chunks were read.
type walk struct {
	reader    *Reader
	next      int
	before    string // hash of the chunk before; "" when it isn't known
	notes     []string
	complete  bool
	abandoned bool // the control plane says that nothing is heard of the agent
}

func (w *walk) chunk(ctx context.Context, o object) (Piece, error) {
	seq, _, _ := recording.ParseName(o.Name)
	p := Piece{Seq: seq, Notes: w.notes}
	w.notes = nil
	if seq > w.next {
		p.Notes = append(p.Notes, missing(w.next, seq-1))
		w.before = ""
	}
	b, err := w.reader.fetch(ctx, o, recording.MaxChunk)
	if err != nil {
		return p, fmt.Errorf("fetching %s: %w", o.Name, err)
	}
	header, lines, err := recording.OpenChunk(b)
	switch {
	case err != nil:
		p.Notes = append(p.Notes, fmt.Sprintf("chunk %d can't be read: %v", seq, err))
	case header.Session != w.reader.session || header.Seq != seq:
		p.Notes = append(p.Notes, fmt.Sprintf("chunk %d is in truth chunk %d of %s and is left out", seq, header.Seq, header.Session))
	default:
		if w.before != "" && header.Before != w.before {
			p.Notes = append(p.Notes, fmt.Sprintf("chunk %d doesn't follow the one before it: one of them isn't what was recorded", seq))
		}
		p.Text, p.Lines = lines, lines
		if seq == 0 {
			h, rest, err := recording.ReadHead(lines)
			if err != nil {
				p.Notes = append(p.Notes, err.Error())
				break
			}
			p.Head, p.Lines = &h, rest
		}
	}
	w.next, w.before = seq+1, recording.Hash(b)
	return p, nil
}

// rest is what is to be said at the end.
func (w *walk) rest() Piece {
	p := Piece{Seq: w.next, Notes: w.notes}
	switch {
	case w.complete:
	case w.abandoned:
		p.Notes = append(p.Notes, "the recording isn't complete: nothing is heard of its agent, which may have more of it")
	default:
		p.Notes = append(p.Notes, "the recording isn't complete: its session lasts, or its agent hasn't uploaded the rest")
	}
	return p
}

func missing(first, last int) string {
	if first == last {
		return run(first, last) + " is missing"
	}
	return run(first, last) + " are missing"
}

// run names chunks that follow one another.
func run(first, last int) string {
	if first == last {
		return fmt.Sprintf("chunk %d", first)
	}
	return fmt.Sprintf("chunks %d to %d", first, last)
}

// Count writes how many there are of something.
func Count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}
