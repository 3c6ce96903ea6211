package record_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stile-dev/stile/agent/record"
	"github.com/stile-dev/stile/pkg/recording"
	"github.com/stile-dev/stile/pkg/resource"
)

// taken is how many bytes the files of sessions have.
func taken(t *testing.T, dir string) (n int64) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "ses_*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		info, err := os.Stat(f)
		if err != nil {
			t.Fatal(err)
		}
		n += info.Size()
	}
	return n
}

func TestTheSpoolSaysHowMuchItTakesAndWhatWaitsForS3(t *testing.T) {
	w := newWorld(t, func(c *record.Config) { c.Limit = 8 << 20 })
	if u := w.Usage(); u != (record.Usage{Limit: 8 << 20}) {
		t.Errorf("an empty one says %+v", u)
	}
	one, first := w.begin(resource.RecordBestEffort, nil)
	two, _ := w.begin(resource.RecordBestEffort, nil)
	show(t, one, noise(1000))
	show(t, two, noise(1000))
	if u := w.Usage(); u.Bytes < 2000 || u.Waiting != 0 || u.Full {
		t.Errorf("while both sessions last it says %+v", u)
	}
	one.End()
	<-one.Done()
	if u := w.Usage(); u.Waiting != 1 || u.Bytes < taken(t, w.config.Dir)-4<<10 || u.Bytes > taken(t, w.config.Dir) { // how far chunks have got isn't counted
		t.Errorf("when one has ended it says %+v, and the disk has %d bytes", u, taken(t, w.config.Dir))
	}
	w.set(func() { w.free = 1 << 20 })
	until(t, "a look at the disk", func() bool { return w.Usage().Full })
	w.set(func() { w.free = 10 << 30 })
	until(t, "another look", func() bool { return !w.Usage().Full })

	w.reopen(w.config.Dir) // what an earlier run left waits as well
	if u := w.Usage(); u.Waiting != 2 || u.Bytes != taken(t, w.config.Dir) {
		t.Errorf("after a start it says %+v, and the disk has %d bytes", u, taken(t, w.config.Dir))
	}
	for _, name := range []string{recording.ChunkName(0), recording.ManifestName} {
		if err := w.Held(first, name); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Forget(first); err != nil {
		t.Fatal(err)
	}
	if u := w.Usage(); u.Waiting != 1 || u.Bytes != taken(t, w.config.Dir) {
		t.Errorf("once S3 holds one it says %+v, and the disk has %d bytes", u, taken(t, w.config.Dir))
	}
}

func TestASpoolWithoutRoomForAJournalIsFull(t *testing.T) {
	w := newWorld(t, func(c *record.Config) { c.Limit = 1<<20 + 500 })
	r, _ := w.begin(resource.RecordBestEffort, nil)
	show(t, r, noise(1000))
	if u := w.Usage(); !u.Full {
		t.Errorf("it says %+v", u)
	}
	if _, _, err := w.try(resource.RecordStrict, nil); err == nil {
		t.Error("and a strict session begins")
	}
}
