package serve

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stile-dev/stile/agent/record"
	"github.com/stile-dev/stile/agent/status"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/recording"
	"github.com/stile-dev/stile/pkg/resource"
)

func TestTheStatusSaysWhatRecordingsTakeAndHowManyWait(t *testing.T) {
	s, err := record.Open(record.Config{
		Dir: t.TempDir(), Limit: 64 << 20, Sign: func(recording.Manifest) ([]byte, error) { return nil, errors.New("no certificate") },
		Free: func(string) (free, all uint64, err error) { return 1 << 40, 1 << 41, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	session, secret := identity.NewSession(rand.Reader, time.Now())
	r, err := s.Begin(record.Begin{Head: recording.Head{Session: session, Target: "node/web-1", User: "ada", Started: time.Now(), Width: 80, Height: 24}, Secret: secret, Mode: resource.RecordStrict})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Output(recording.Stdout, []byte("shown")); err != nil {
		t.Fatal(err)
	}
	r.End()
	<-r.Done()
	got := recordings(s)
	if got.Used < 100 || got.Limit != 64<<20 || got.Waiting != 1 || got.Full {
		t.Errorf("it says %+v", got)
	}
	b, err := json.Marshal(status.Status{Recordings: &status.Recordings{Used: 1, Limit: 2, Waiting: 3, Full: true}})
	if err != nil || !strings.Contains(string(b), `"recordings":{"used_bytes":1,"limit_bytes":2,"waiting":3,"full":true}`) {
		t.Errorf("it is written as %s, %v", b, err)
	}
}
