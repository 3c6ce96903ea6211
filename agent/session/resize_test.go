package session_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stile-dev/stile/agent/session"
	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/resource"
)

// sizes are what events of a type say of a terminal's size.
func (w *world) sizes(kind audit.Type) (all []string) {
	for _, e := range w.of(kind) {
		if d := e.Data; d["resizes"] != "" {
			all = append(all, fmt.Sprintf("%sx%s after %s", d["columns"], d["rows"], d["resizes"]))
		}
	}
	return all
}

// after lets the bubble's clock go on.
func after(d time.Duration) { <-time.After(d) }

func TestSizesOfATerminalAreToldNowAndThenAndTheLastAlways(t *testing.T) {
	for name, c := range map[string]struct {
		do        func(*world, *session.Session)
		want, end []string
	}{
		"none":              {func(*world, *session.Session) {}, nil, nil},
		"the first at once": {func(_ *world, s *session.Session) { s.Resized(90, 20) }, []string{"90x20 after 1"}, nil},
		"as it began":       {func(_ *world, s *session.Session) { s.Resized(100, 30) }, nil, nil},
		"the same again": {func(_ *world, s *session.Session) {
			s.Resized(90, 20)
			after(time.Minute)
			s.Resized(90, 20)
		}, []string{"90x20 after 1"}, nil},
		"what came soon after, by the end": {func(_ *world, s *session.Session) { s.Resized(90, 20); s.Resized(80, 20); s.Resized(70, 21) }, []string{"90x20 after 1"}, []string{"70x21 after 2"}},
		"one side alone":                   {func(_ *world, s *session.Session) { s.Resized(100, 31) }, []string{"100x31 after 1"}, nil},
		"what came soon after, by one ten seconds later": {func(_ *world, s *session.Session) {
			s.Resized(90, 20)
			s.Resized(80, 20)
			after(10*time.Second - 1)
			s.Resized(70, 20)
			after(1)
			s.Resized(60, 20)
		}, []string{"90x20 after 1", "60x20 after 3"}, nil},
		"without room, by a later one": {func(w *world, s *session.Session) {
			w.crowded = errors.New("no room")
			s.Resized(90, 20)
			w.crowded = nil
			after(10 * time.Second)
			s.Resized(80, 20)
		}, []string{"80x20 after 2"}, nil},
		"without room, by the end": {func(w *world, s *session.Session) { w.crowded = errors.New("no room"); s.Resized(90, 20) }, nil, []string{"90x20 after 1"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				a := admit(t, w, nil)
				s := open(t, a)
				s.Resized(11, 11) // it shows nothing yet
				if err := s.Start(nil, session.Show{Terminal: true, Width: 100, Height: 30}); err != nil {
					t.Fatal(err)
				}
				c.do(w, s)
				s.End(session.Result{})
				s.Resized(12, 12)
				if got := w.sizes(audit.SessionResize); !slices.Equal(got, c.want) {
					t.Errorf("%q, want %q", got, c.want)
				}
				if got := w.sizes(audit.SessionEnd); !slices.Equal(got, c.end) || len(w.of(audit.SessionEnd)) != 1 {
					t.Errorf("the end says %q, want %q", got, c.end)
				}
				for _, e := range w.of(audit.SessionResize) {
					if e.SessionID != s.ID() || e.Target != "orders" || e.Actor != "user/ada" || e.Data["certificate"] != "crt_1" || e.Data["database"] != "shop" {
						t.Errorf("%+v", e)
					}
				}
				a.Close()
			})
		})
	}
}

func TestSec_S65_WhoResizesWithoutEndFillsNoJournal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, r := newRecorded(resource.RecordStrict)
		a := admit(t, w, nil)
		s := open(t, a)
		if err := s.Start(nil, session.Show{Terminal: true, Width: 100, Height: 30}); err != nil {
			t.Fatal(err)
		}
		for i := range 60 { // a minute of 10,000 a second
			for n := range 10_000 {
				s.Resized(n%200+1, i+1)
			}
			after(time.Second)
		}
		s.End(session.Result{})
		if n := len(w.of(audit.SessionResize)); n != 6 {
			t.Errorf("%d events", n)
		}
		if got := w.sizes(audit.SessionEnd); len(got) != 1 || !strings.HasPrefix(got[0], "200x60 after ") {
			t.Errorf("the end says %q", got)
		}
		if n := len(r.did); n < 60*10_000 {
			t.Errorf("%d are recorded", n)
		}
		a.Close()
	})
}
