package cmd_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/stile-dev/stile/cli/cmd"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/recording"
	"github.com/stile-dev/stile/pkg/wire"
)

// reels are the chunks of recordings by session: of one that isn't whole there is no manifest, and one that can't be read has none.
type reels map[string]struct {
	chunk []byte
	whole bool
}

func (r reels) Objects(_ context.Context, session, _ string) (wire.RecordingObjects, error) {
	p := wire.RecordingObjects{Objects: []wire.RecordingObject{{Name: recording.ChunkName(0), Version: session}}, ExpiresAt: time.Now().Add(time.Hour)}
	if r[session].whole {
		p.Objects = append(p.Objects, wire.RecordingObject{Name: recording.ManifestName, Version: session})
	}
	return p, nil
}

func (r reels) Fetch(_ context.Context, o wire.RecordingObject, _ int64) ([]byte, error) {
	if b := r[o.Version].chunk; b != nil {
		return b, nil
	}
	return nil, errors.New("S3 is away")
}

// add records a session that shows a line, and lists it.
func (r reels) add(t *testing.T, whole, there bool) wire.Recording {
	t.Helper()
	started := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	id, _ := identity.NewSession(rand.Reader, started)
	c := recording.NewChunk(recording.Place{Session: id}, &recording.Head{Session: id, Started: started, Width: 80, Height: 24})
	c.Output(1018455*time.Microsecond, recording.Stdout, []byte("a needle\n"))
	object, _, err := c.Seal()
	if err != nil {
		t.Fatal(err)
	}
	if !there {
		object = nil
	}
	reel := r[id]
	reel.chunk, reel.whole = object, whole
	r[id] = reel
	return wire.Recording{SessionID: id, User: "ada", Login: "root", Node: "web-1", Started: started}
}

func listed(all []wire.Recording, failed error) iter.Seq2[wire.Recording, error] {
	return func(yield func(wire.Recording, error) bool) {
		for _, r := range all {
			if !yield(r, nil) {
				return
			}
		}
		if failed != nil {
			yield(wire.Recording{}, failed)
		}
	}
}

func TestASearchSaysOnceWhatItHasReadAndNamesWhatItCouldNot(t *testing.T) {
	r := reels{}
	var whole, all []wire.Recording
	for range 24 {
		whole = append(whole, r.add(t, true, true))
	}
	all = append(append(all, whole...), r.add(t, false, true), r.add(t, true, false))
	gone := errors.New("the API is away")
	for name, c := range map[string]struct {
		list   iter.Seq2[wire.Recording, error]
		failed error
		status int
		found  int
		said   []string // what each line on the standard error has
	}{
		"all whole": {listed(whole, nil), nil, 0, 24, []string{"stile: 24 lines found; 24 recordings read whole, 0 not"}},
		"two not": {listed(all, nil), nil, 6, 25, []string{
			all[24].SessionID + " of ada on web-1 isn't whole", all[25].SessionID + " of ada on web-1 was not read to its end: fetching 00000000.zst: S3 is away",
			"stile: 25 lines found; 24 recordings read whole, 2 not",
		}},
		"none":                 {listed(nil, nil), nil, 0, 0, []string{"stile: 0 lines found; 0 recordings read whole, 0 not"}},
		"a list that ends":     {listed(whole[:1], gone), gone, 0, 1, []string{"stile: 1 line found; 1 recording read whole, 0 not"}},
		"a list that isn't it": {listed(nil, gone), gone, 0, 0, nil},
	} {
		var out, errs strings.Builder
		status, err := cmd.SearchRecordings(t.Context(), c.list, r, "needle", &out, &errs)
		if !errors.Is(err, c.failed) || status != c.status {
			t.Errorf("%s: status %d, %v", name, status, err)
		}
		if n := strings.Count(out.String(), `"at":1.018455,"line":"a needle"}`+"\n"); n != c.found || strings.Count(out.String(), "\n") != n {
			t.Errorf("%s: it found\n%s", name, out.String())
		}
		lines := strings.Split(strings.TrimSuffix(errs.String(), "\n"), "\n")
		if c.said == nil {
			c.said = []string{""}
		}
		if len(lines) != len(c.said) {
			t.Errorf("%s: it said\n%s", name, errs.String())
			continue
		}
		for i, want := range c.said {
			if !strings.Contains(lines[i], want) {
				t.Errorf("%s: it said %q, want %q", name, lines[i], want)
			}
		}
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	stopped := func(yield func(wire.Recording, error) bool) {
		if yield(whole[0], nil) {
			cancel(fmt.Errorf("Ctrl-C"))
			yield(whole[1], nil)
		}
	}
	var out, errs strings.Builder
	if _, err := cmd.SearchRecordings(ctx, stopped, r, "needle", &out, &errs); !errors.Is(err, context.Canceled) || !strings.HasSuffix(errs.String(), "1 recording read whole, 0 not\n") {
		t.Errorf("a search that was stopped said %q, %v", errs.String(), err)
	}
}
