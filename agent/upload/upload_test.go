package upload_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stile-dev/stile/agent/record"
	"github.com/stile-dev/stile/agent/upload"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/recording"
	"github.com/stile-dev/stile/pkg/wire"
)

// world is a spool, the API and S3, all in memory.
type world struct {
	mu      sync.Mutex
	waiting map[string]map[string][]byte // by session and name
	over    map[string]bool
	ready   chan struct{}
	failed  []string
	gone    []string // sessions that were forgotten
	uids    map[string]string
	limit   func() error // of claims

	bucket map[string][]byte // by session/name
	answer func(key string, n int) (status int, lose bool, checksum string)
	puts   map[string]int
	slow   time.Duration // that a PUT takes
	atOnce int
	most   int

	claims map[string]int
	calls  int
	asked  map[string]int // by session/name, whether S3 has it
	api    error
	unsaid error    // of ConfirmUploads alone
	order  []string // in which S3 came to hold objects
}

func newWorld() *world {
	return &world{
		waiting: map[string]map[string][]byte{}, over: map[string]bool{}, ready: make(chan struct{}, 1), bucket: map[string][]byte{},
		puts: map[string]int{}, claims: map[string]int{}, asked: map[string]int{},
	}
}

func (w *world) add(session, name string, b []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.waiting[session] == nil {
		w.waiting[session] = map[string][]byte{}
	}
	w.waiting[session][name] = b
	if name == recording.ManifestName {
		w.over[session] = true
	}
	select {
	case w.ready <- struct{}{}:
	default:
	}
}

func (w *world) set(change func()) { w.mu.Lock(); defer w.mu.Unlock(); change() }

// The spool.

func (w *world) Ready() <-chan struct{} { return w.ready }

func (w *world) Pending() (out []record.Pending) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for session, objects := range w.waiting {
		p := record.Pending{Session: session, Secret: []byte(session), Done: w.over[session], Head: recording.Head{UID: w.uids[session]}}
		for name := range objects {
			p.Names = append(p.Names, name)
		}
		slices.Sort(p.Names)
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b record.Pending) int { return strings.Compare(a.Session, b.Session) })
	return out
}

func (w *world) Read(session, name string) ([]byte, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	b, ok := w.waiting[session][name]
	if !ok {
		return nil, os.ErrNotExist
	}
	return b, nil
}

func (w *world) Held(session, name string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if string(w.bucket[session+"/"+name]) != string(w.waiting[session][name]) {
		panic("S3 doesn't hold " + name)
	}
	delete(w.waiting[session], name)
	return nil
}

func (w *world) Forget(session string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.waiting[session]) > 0 {
		panic("forgotten too early")
	}
	delete(w.waiting, session)
	w.gone = append(w.gone, session)
	return nil
}

func (w *world) Failed(p record.Pending, name, why string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failed = append(w.failed, p.Session+"/"+name+": "+why)
}

// The API.

func (w *world) call() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls++
	return w.api
}

func (w *world) ClaimRecording(_ context.Context, session string, _ wire.RecordingClaim) (wire.Recording, error) {
	err := w.call()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.limit != nil {
		if err := w.limit(); err != nil {
			return wire.Recording{}, err
		}
	}
	w.claims[session]++
	return wire.Recording{}, err
}

func (w *world) GrantUploads(_ context.Context, session string, r wire.UploadRequest) (out wire.UploadGrants, err error) {
	if len(r.Objects) > 20 {
		return out, fault.New(fault.BadInput, "too many", "ask for fewer")
	}
	for _, o := range r.Objects {
		out.Grants = append(out.Grants, wire.UploadGrant{
			Name: o.Name, URL: "https://s3.example/" + session + "/" + o.Name,
			Headers: map[string]string{"X-Amz-Checksum-Sha256": base64.StdEncoding.EncodeToString(o.Sha256), "If-None-Match": "*"},
		})
	}
	return out, w.call()
}

func (w *world) ConfirmUploads(_ context.Context, session string, r wire.HeldRequest) (out wire.HeldObjects, err error) {
	if err := w.call(); err != nil {
		return out, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, name := range r.Names {
		w.asked[session+"/"+name]++
	}
	if w.unsaid != nil {
		return out, w.unsaid
	}
	for _, name := range r.Names {
		if b, ok := w.bucket[session+"/"+name]; ok {
			sum := sha256.Sum256(b)
			out.Objects = append(out.Objects, wire.UploadObject{Name: name, Size: int64(len(b)), Sha256: sum[:]})
		}
	}
	return out, nil
}

// S3.

func (w *world) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	key := strings.TrimPrefix(r.URL.Path, "/")
	b, _ := io.ReadAll(r.Body)
	sum := sha256.Sum256(b)
	checksum := base64.StdEncoding.EncodeToString(sum[:])
	w.mu.Lock()
	defer w.mu.Unlock()
	w.puts[key]++
	status := http.StatusOK
	if w.answer != nil {
		var other string
		if status, _, other = w.answer(key, w.puts[key]); other != "" {
			checksum = other
		}
	}
	if _, there := w.bucket[key]; there && status == http.StatusOK {
		status = http.StatusPreconditionFailed
	}
	if r.Header.Get("If-None-Match") != "*" || r.Header.Get("X-Amz-Checksum-Sha256") == "" {
		status = http.StatusForbidden
	}
	if status == http.StatusOK {
		w.bucket[key] = b
		w.order = append(w.order, key)
		rw.Header().Set("X-Amz-Checksum-Sha256", checksum)
	}
	rw.WriteHeader(status)
}

// RoundTrip takes a while, and may lose the answer.
func (w *world) RoundTrip(r *http.Request) (*http.Response, error) {
	w.set(func() { w.atOnce++; w.most = max(w.most, w.atOnce) })
	<-time.After(max(w.slow, 100*time.Millisecond))
	rec := httptest.NewRecorder()
	w.ServeHTTP(rec, r)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.atOnce--
	key := strings.TrimPrefix(r.URL.Path, "/")
	if w.answer != nil {
		if _, lose, _ := w.answer(key, w.puts[key]); lose {
			return nil, errors.New("connection reset")
		}
	}
	return rec.Result(), nil
}

// run uploads for a while of the bubble's time.
func (w *world) run(t *testing.T, d time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	upload.New(upload.Config{
		Spool: w, HTTP: &http.Client{Transport: w},
		API: func() (upload.API, error) { return w, nil },
	}).Run(ctx)
}

func (w *world) recording(session string, chunks int) {
	for i := range chunks {
		w.add(session, recording.ChunkName(i), []byte(fmt.Sprintf("%s %d", session, i)))
	}
	w.add(session, recording.ManifestName, []byte("the manifest of "+session))
}

func TestChunksGoFirstInTheirOrderAndThenTheManifest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.recording("ses_a", 45)
		w.run(t, time.Minute)
		if len(w.bucket) != 46 || !slices.Equal(w.gone, []string{"ses_a"}) || !slices.IsSorted(w.order) || len(w.failed) != 0 || w.claims["ses_a"] != 1 {
			t.Errorf("%d objects, gone %v, failed %v, %d claims", len(w.bucket), w.gone, w.failed, w.claims["ses_a"])
		}
		for key, n := range w.puts {
			if n != 1 {
				t.Errorf("%s was put %d times", key, n)
			}
		}
	})
}

// While a recording isn't whole in S3, its agent says again and again that it is alive, also when nothing is shown.
func TestARecordingIsClaimedAgainUntilItIsHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.waiting["ses_idle"] = map[string][]byte{}
		w.run(t, 5*time.Hour+time.Minute)
		if n := w.claims["ses_idle"]; n != 11 || len(w.bucket) != 0 || len(w.gone) != 0 {
			t.Errorf("%d claims in five hours, gone %v", n, w.gone)
		}
		claims := w.claims["ses_idle"]
		w.add("ses_idle", recording.ManifestName, []byte("m"))
		w.run(t, 5*time.Hour)
		if n := w.claims["ses_idle"] - claims; n > 1 || !slices.Equal(w.gone, []string{"ses_idle"}) {
			t.Errorf("%d claims of what S3 holds, gone %v", n, w.gone)
		}
	})
}

func TestARecordingThatGoesOnIsClaimedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		go func() {
			for i := range 30 {
				w.add("ses_a", recording.ChunkName(i), []byte{byte(i)})
				<-time.After(10 * time.Second)
			}
		}()
		w.run(t, 10*time.Minute)
		if len(w.bucket) != 30 || w.claims["ses_a"] != 1 || len(w.gone) != 0 {
			t.Errorf("%d objects, %d claims, gone %v", len(w.bucket), w.claims["ses_a"], w.gone)
		}
	})
}

// What S3 answers, in the end all is there once, and is let go of only then.
func TestEveryAnswerOfS3LeadsToAnEnd(t *testing.T) {
	first := func(status int, times int) func(string, int) (int, bool, string) {
		return func(_ string, n int) (int, bool, string) {
			if n <= times {
				return status, false, ""
			}
			return http.StatusOK, false, ""
		}
	}
	lost := func(told string) bool { return !strings.Contains(told, "it is tried again") }
	for name, answer := range map[string]func(string, int) (int, bool, string){
		"409":         first(http.StatusConflict, 3),
		"403":         first(http.StatusForbidden, 3),
		"503":         first(http.StatusServiceUnavailable, 12),
		"400 at last": first(http.StatusBadRequest, 7),
		"a lost answer": func(_ string, n int) (int, bool, string) {
			return http.StatusOK, n == 1, ""
		},
		"409, 403, and then 200": func(_ string, n int) (int, bool, string) {
			return []int{http.StatusConflict, http.StatusForbidden, http.StatusOK}[min(n, 3)-1], false, ""
		},
		"a redirect": first(http.StatusTemporaryRedirect, 2),
		"another checksum in a 200": func(string, int) (int, bool, string) {
			return http.StatusOK, false, "AAAA"
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				w.answer = answer
				w.recording("ses_a", 3)
				w.run(t, 2*time.Hour)
				if len(w.bucket) != 4 || !slices.Equal(w.gone, []string{"ses_a"}) || slices.ContainsFunc(w.failed, lost) {
					t.Errorf("%d objects, gone %v, failed %v", len(w.bucket), w.gone, w.failed)
				}
				if w.order[3] != "ses_a/manifest.json" {
					t.Errorf("%v", w.order)
				}
			})
		})
	}
}

func TestWhatIsThereAlreadyIsLetGoOfWhenItIsTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.recording("ses_a", 2)
		w.bucket["ses_a/00000000.zst"] = []byte("ses_a 0")
		w.run(t, time.Minute)
		if !slices.Equal(w.gone, []string{"ses_a"}) {
			t.Errorf("%v", w.gone)
		}
	})
}

// A permission that is gone, say, is told of within a minute, and not by every recording again and again.
func TestThatS3TakesNothingIsToldOfInAMinuteAndThenHourly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		for i := range 20 {
			w.recording(fmt.Sprintf("ses_%02d", i), 3)
		}
		w.answer = func(string, int) (int, bool, string) { return http.StatusForbidden, false, "" }
		w.run(t, time.Minute)
		if len(w.failed) != 1 || !strings.Contains(w.failed[0], "403") || !strings.Contains(w.failed[0], "it is tried again") || len(w.gone) != 0 {
			t.Errorf("after a minute: %q, %d are gone", w.failed, len(w.gone))
		}
	})
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.recording("ses_0", 3)
		w.answer = func(string, int) (int, bool, string) { return http.StatusServiceUnavailable, false, "" }
		w.run(t, 150*time.Minute)
		if len(w.failed) != 3 {
			t.Errorf("in two hours and a half: %q", w.failed)
		}
	})
}

func TestSomethingElseUnderTheNameIsNoReasonToLetGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.recording("ses_a", 3)
		w.bucket["ses_a/00000001.zst"] = []byte("forged!")
		w.run(t, 20*time.Hour)
		if len(w.gone) != 0 || len(w.waiting["ses_a"]) != 2 || w.puts["ses_a/00000001.zst"] != 1 || w.puts["ses_a/manifest.json"] != 0 {
			t.Errorf("gone %v, waiting %d, puts %v", w.gone, len(w.waiting["ses_a"]), w.puts)
		}
		if len(w.failed) != 1 || !strings.Contains(w.failed[0], "something else is there") {
			t.Errorf("%v", w.failed)
		}
	})
}

func TestARefusalForEverIsToldOnceAndKeptForADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		bad := true
		w.answer = func(key string, _ int) (int, bool, string) {
			if bad && key == "ses_a/00000001.zst" {
				return http.StatusBadRequest, false, ""
			}
			return http.StatusOK, false, ""
		}
		w.recording("ses_a", 3)
		w.recording("ses_b", 3)
		time.AfterFunc(24*time.Hour, func() {
			w.set(func() {
				if n := w.puts["ses_a/00000001.zst"]; n != 8 || len(w.failed) != 1 || !slices.Equal(w.gone, []string{"ses_b"}) || len(w.bucket) != 6 {
					t.Errorf("%d puts, failed %v, gone %v, %d objects", n, w.failed, w.gone, len(w.bucket))
				}
				bad = false
			})
		})
		w.run(t, 26*time.Hour)
		if !slices.Equal(w.gone, []string{"ses_b", "ses_a"}) {
			t.Errorf("%v", w.gone)
		}
	})
}

// Whatever S3 answers in place of taking what it is brought, functions/recording is asked and so measures it: three times
// in the first minute at least, however the clock's minutes fall.
func TestThatS3TakesNothingTheControlPlaneHearsWithinAMinute(t *testing.T) {
	for _, status := range []int{http.StatusForbidden, http.StatusBadRequest, http.StatusNotFound, http.StatusServiceUnavailable} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld()
			w.answer = func(string, int) (int, bool, string) { return status, false, "" }
			w.add("ses_a", recording.ChunkName(0), []byte("a chunk"))
			w.run(t, 35*time.Second)
			if n := w.asked["ses_a/00000000.zst"]; n < 6 {
				t.Errorf("%d: asked %d times in 35 seconds, so that a minute of the clock may have had fewer than three", status, n)
			}
		})
	}
}

// As when the function's role has no permission left at all: then S3 doesn't tell it either what it has.
func TestThatS3TakesAndTellsNothingIsHeardWithinAMinuteAndHoldsUpNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.answer = func(string, int) (int, bool, string) { return http.StatusForbidden, false, "" }
		w.unsaid = fault.New(fault.Internal, "something went wrong inside Stile", "wait")
		w.add("ses_a", recording.ChunkName(0), []byte("a chunk"))
		w.add("ses_b", recording.ChunkName(0), []byte("another's"))
		w.run(t, 35*time.Second)
		if a, b := w.asked["ses_a/00000000.zst"], w.asked["ses_b/00000000.zst"]; a < 6 || b < 6 || len(w.failed) != 1 {
			t.Errorf("asked %d and %d times in 35 seconds, told %v", a, b, w.failed)
		}
	})
}

// An answer that refuses is believed no more than another: it is let go of what S3 has.
func TestWhatIsRefusedThoughS3HasItIsLetGoOf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.recording("ses_a", 2)
		w.bucket["ses_a/00000000.zst"] = []byte("ses_a 0")
		w.answer = func(key string, _ int) (int, bool, string) {
			if key == "ses_a/00000000.zst" {
				return http.StatusBadRequest, false, ""
			}
			return http.StatusOK, false, ""
		}
		w.run(t, time.Minute)
		if !slices.Equal(w.gone, []string{"ses_a"}) || w.puts["ses_a/00000000.zst"] != 1 || len(w.failed) != 0 {
			t.Errorf("gone %v, failed %v, %v", w.gone, w.failed, w.puts)
		}
	})
}

// Refusals are counted also while nobody says what S3 has, so that they come to an end.
func TestRefusalsAreCountedAlsoWhenNobodySaysWhatS3Has(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.add("ses_a", recording.ChunkName(0), []byte("a chunk"))
		w.answer = func(string, int) (int, bool, string) { return http.StatusBadRequest, false, "" }
		w.unsaid = fault.New(fault.Internal, "no way", "wait")
		w.run(t, time.Hour)
		if n := w.puts["ses_a/00000000.zst"]; n != 8 || len(w.failed) != 1 || !strings.Contains(w.failed[0], "400") {
			t.Errorf("put %d times, failed %v", n, w.failed)
		}
	})
}

func TestWhileTheAPICannotBeReachedItIsTriedOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		for i := range 50 {
			w.recording(fmt.Sprintf("ses_%02d", i), 2)
		}
		w.api = fault.New(fault.Unreachable, "no way", "wait")
		time.AfterFunc(time.Hour, func() {
			w.set(func() {
				if w.calls > 64 {
					t.Errorf("%d calls in an hour", w.calls)
				}
				w.api = nil
			})
		})
		w.run(t, time.Hour+5*time.Minute)
		if len(w.gone) != 50 || len(w.failed) != 0 {
			t.Errorf("%d went, failed %v", len(w.gone), w.failed)
		}
	})
}

func TestOneSessionsTroubleHoldsUpNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.recording("ses_0", 5000)
		w.recording("ses_1", 5000)
		w.answer = func(key string, _ int) (int, bool, string) {
			if strings.HasPrefix(key, "ses_1/") {
				return http.StatusServiceUnavailable, false, ""
			}
			return http.StatusOK, false, ""
		}
		for i := range 20 {
			w.recording(fmt.Sprintf("ses_x%02d", i), 3)
		}
		w.run(t, 30*time.Second)
		if len(w.gone) != 20 || w.most > 4 {
			t.Errorf("%d went, %d at once", len(w.gone), w.most)
		}
	})
}

func TestAClaimThatIsRefusedIsToldOfAndLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.recording("ses_a", 1)
		w.api = fault.New(fault.Denied, "not yours", "ask")
		w.run(t, 20*time.Hour)
		if w.calls != 8 || len(w.failed) != 1 || len(w.waiting["ses_a"]) != 2 {
			t.Errorf("%d calls, failed %v", w.calls, w.failed)
		}
	})
}

// spilling is S3 that answers nothing, or repeats what it was sent.
type spilling struct{ answer string }

func (s spilling) RoundTrip(r *http.Request) (*http.Response, error) {
	if s.answer == "" {
		return nil, errors.New("connection reset")
	}
	w := httptest.NewRecorder()
	w.WriteHeader(http.StatusForbidden)
	fmt.Fprintf(w, s.answer, r.URL.RawQuery)
	return w.Result(), nil
}

// granting is the world with grants that nobody else may see.
type granting struct{ *world }

func (g granting) GrantUploads(ctx context.Context, session string, r wire.UploadRequest) (wire.UploadGrants, error) {
	out, err := g.world.GrantUploads(ctx, session, r)
	for i := range out.Grants {
		out.Grants[i].URL += "?X-Amz-Signature=CANARY"
	}
	return out, err
}

// TestSec_S50_AGrantGetsIntoNoLog, whatever S3 says and however a connection to it ends.
func TestSec_S50_AGrantGetsIntoNoLog(t *testing.T) {
	for name, answer := range map[string]string{
		"no answer": "", "an error": "<Error><Code>SignatureDoesNotMatch</Code><Message>it is another</Message><StringToSign>%s</StringToSign></Error>", "no XML": "what is %s?",
	} {
		synctest.Test(t, func(t *testing.T) {
			var log bytes.Buffer
			w := newWorld()
			w.add("ses_a", recording.ChunkName(0), []byte("a chunk"))
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			upload.New(upload.Config{
				Spool: w, HTTP: &http.Client{Transport: spilling{answer}}, Log: slog.New(slog.NewTextHandler(&log, nil)),
				API: func() (upload.API, error) { return granting{w}, nil },
			}).Run(ctx)
			if text := log.String() + strings.Join(w.failed, " "); strings.Contains(text, "CANARY") || !strings.Contains(text, "not uploaded") {
				t.Errorf("%s: %s", name, text)
			}
		})
	}
}

// Sessions that one user opens and ends without a pause keep no recording of another from S3.
func TestManyRecordingsOfOneUserHoldUpNobodyElses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.uids = map[string]string{}
		w.recording("ses_z", 40)
		w.uids["ses_z"] = "ada"
		var mallory sync.WaitGroup
		mallory.Go(func() {
			for n := range 500 { // ten seconds
				session := fmt.Sprintf("ses_a%06d", n)
				w.set(func() { w.uids[session] = "mallory" })
				w.recording(session, 1)
				<-time.After(20 * time.Millisecond)
			}
		})
		w.run(t, 10*time.Second)
		mallory.Wait()
		if !slices.Contains(w.gone, "ses_z") {
			t.Errorf("%d chunks of another's are left, %d recordings went", len(w.waiting["ses_z"]), len(w.gone))
		}
	})
}

// An agent that claims more than it may does so as fast as it may, and goes on with what it has claimed.
func TestAnAgentThatClaimsTooMuchPutsOnAndLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.uids = map[string]string{"ses_z": "ada"}
		w.recording("ses_z", 400)
		for n := range 300 {
			w.recording(fmt.Sprintf("ses_a%03d", n), 1)
		}
		taken, refused, begun := 0, 0, time.Now()
		w.limit = func() error {
			if taken >= 20+int(time.Since(begun)/(200*time.Millisecond)) {
				f := fault.New(fault.RateLimited, "this agent claims more recordings than one may", "wait 1s and try again")
				f.RetryAfter = time.Second
				refused++
				return f
			}
			taken++
			return nil
		}
		w.run(t, 50*time.Second)
		if !slices.Contains(w.gone, "ses_z") || len(w.gone) < 200 || refused > 500 {
			t.Errorf("%d went, %d chunks of another's are left, %d claims were refused", len(w.gone), len(w.waiting["ses_z"]), refused)
		}
		w.run(t, 50*time.Second)
		if len(w.gone) != 301 || len(w.failed) > 0 {
			t.Errorf("%d went, failed %v", len(w.gone), w.failed)
		}
	})
}

// An agent that isn't heard of for two hours counts as gone, whatever its sessions do.
func TestASlowS3KeepsNoSessionFromBeingClaimed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.slow = 90 * time.Second
		for n := range 30 {
			w.recording(fmt.Sprintf("ses_%02d", n), 20)
		}
		w.waiting["ses_idle"] = map[string][]byte{}
		w.run(t, time.Minute)
		if w.claims["ses_idle"] == 0 {
			t.Errorf("%d of 31 were claimed in a minute", len(w.claims))
		}
	})
}
