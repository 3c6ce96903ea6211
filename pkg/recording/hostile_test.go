package recording_test

import (
	"runtime"
	"strings"
	"testing"

	"github.com/stile-dev/stile/pkg/recording"
)

// taken is how much memory f allocates in all.
func taken(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func TestSec_S52_ALineThatIsTooLongTakesNoMemory(t *testing.T) {
	const size = recording.MaxText - 100
	for name, line := range map[string]string{
		"one text":    `[0.0,"o","` + strings.Repeat("a", size) + `"]` + "\n",
		"many fields": `[0.0,"o","a"` + strings.Repeat(",1", size/2) + "]\n",
		"a note":      `[0.0,"m","` + strings.Repeat("a", size) + `"]` + "\n",
		"a long time": `[` + strings.Repeat("9", size) + `,"o","a"]` + "\n",
		"deep":        `[0.0,"o",` + strings.Repeat("[", size) + "\n",
	} {
		var failed error
		took := taken(func() {
			for _, err := range recording.Lines([]byte(line)) {
				failed = err
			}
		})
		if copied := uint64(len(line)); failed == nil || len(failed.Error()) > 300 || took > copied+(1<<20) {
			t.Errorf("%s: %.300v, %d MiB", name, failed, took>>20)
		}
	}
	if _, _, err := recording.ReadHead([]byte(`{"version":2,"title":"` + strings.Repeat("a", size) + `","stile":{}}` + "\n")); err == nil {
		t.Error("a head of 8 MiB is read")
	}
}

func TestOfAnErrorAboutALineOnlySomeIsSaid(t *testing.T) {
	for _, err := range recording.Lines([]byte(`[1e` + strings.Repeat("9", 100_000) + `,"o","a"]` + "\n")) {
		if err == nil || len(err.Error()) > 300 {
			t.Errorf("%.400v", err)
		}
	}
}
