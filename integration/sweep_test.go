package integration_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/lambda"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/client"
	"github.com/stile-dev/stile/pkg/recording"
)

// sweep runs functions/sweep as its schedule does.
func (s *system) sweep(t *testing.T) {
	t.Helper()
	out, err := lambda.NewFromConfig(s.readerConfig(t)).Invoke(t.Context(), &lambda.InvokeInput{FunctionName: aws.String("stile-sweep"), Payload: []byte("{}")})
	if err != nil || out.FunctionError != nil {
		t.Fatalf("%v %s %s", err, aws.ToString(out.FunctionError), out.Payload)
	}
}

// abandoned sums what functions/sweep measured of recordings that it closed, which an alarm reads.
func (s *system) abandoned(t *testing.T) (sum int) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(s.State, "log/stile-sweep.log"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(raw)) {
		var m struct {
			Function            string
			RecordingsAbandoned int
		}
		if json.Unmarshal([]byte(line), &m) == nil && m.Function == "sweep" {
			sum += m.RecordingsAbandoned
		}
	}
	return sum
}

// lapse lets the lease of a recording end, as two hours in which its agent isn't heard of would.
func (s *system) lapse(t *testing.T, session string) {
	t.Helper()
	db := dynamodb.NewFromConfig(s.readerConfig(t))
	table := aws.String(s.environment(t, s.aProxy(t))["STILE_TABLE_STATE"])
	key := map[string]types.AttributeValue{
		"pk": &types.AttributeValueMemberS{Value: "recorder#" + session[len(session)-1:]}, "sk": &types.AttributeValueMemberS{Value: session},
	}
	got, err := db.GetItem(t.Context(), &dynamodb.GetItemInput{TableName: table, Key: key})
	if err != nil || got.Item == nil {
		t.Fatalf("the lease of %s: %v, %v", session, got, err)
	}
	got.Item["until_ms"] = &types.AttributeValueMemberN{Value: fmt.Sprint(time.Now().Add(-time.Minute).UnixMilli())}
	if _, err := db.PutItem(t.Context(), &dynamodb.PutItemInput{TableName: table, Item: got.Item}); err != nil {
		t.Fatal(err)
	}
}

// An agent that never comes back leaves a recording that says so; one that comes back after all completes it.
func TestWhatAnAgentLeavesBehindIsClosedUntilItComesBack(t *testing.T) {
	p := shared.person(t, engineer).login(t)
	a := shared.agent(t, enrol{name: "node-gone"})
	eventually(t, 30*time.Second, p.online(t, "node-gone", true))
	seen, ended := p.sees(t, "node-gone", `echo "$STILE_SESSION_ID"; head -c 2000000 /dev/urandom | base64; exec sleep 60`)
	session := ""
	eventually(t, 30*time.Second, func() string { // a chunk is in S3 before the session ends
		for r, err := range p.client(t).Recordings(t.Context(), client.RecordingQuery{Target: "node/node-gone"}) {
			if err != nil {
				return err.Error()
			}
			session = r.ID
			page, err := p.client(t).ReadRecording(t.Context(), session, "")
			if err == nil && len(page.Objects) > 0 {
				return ""
			}
		}
		return "nothing is in S3"
	})
	if err := a.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-a.ended
	ended()
	state := func() string {
		r, err := p.client(t).GetRecording(t.Context(), session)
		if err != nil {
			t.Fatal(err)
		}
		return r.State
	}
	shared.sweep(t)
	if got := state(); got != "open" {
		t.Fatalf("while its agent counts as alive, it is %s", got)
	}
	before := shared.abandoned(t)
	shared.lapse(t, session)
	shared.sweep(t)
	if got := state(); got != "incomplete" {
		t.Errorf("it is %s", got)
	}
	eventually(t, 10*time.Second, func() string {
		if n := shared.abandoned(t) - before; n < 1 {
			return "no recording was measured that an alarm would hear of"
		}
		return ""
	})
	if out := p.must(t, "recording", "verify", session); !strings.Contains(out, "nothing was heard of agent") {
		t.Errorf("verified it is\n%s", out)
	}
	eventually(t, 10*time.Second, func() string {
		events := map[audit.Type][]string{}
		for e, err := range p.client(t).SessionEvents(t.Context(), session) {
			if err != nil {
				return err.Error()
			}
			if event, err := audit.Parse([]byte(e.Event)); err == nil {
				events[event.Type] = append(events[event.Type], event.Source)
			}
		}
		if fmt.Sprint(events[audit.RecordingAbandoned], events[audit.SessionEnd]) != "[function/sweep] [function/sweep]" {
			return fmt.Sprint(events)
		}
		return ""
	})
	shared.agent(t, enrol{name: "node-gone", state: a.state})
	got := p.tapeBeside(t, session, recording.StatementName)
	if !strings.HasPrefix(got.raw['o'], seen.shown.String()) || !got.manifest.Manifest.Torn {
		t.Errorf("%d bytes are recorded and %d were seen: %+v", len(got.raw['o']), seen.shown.Len(), got.manifest.Manifest)
	}
	st, err := recording.OpenStatement(got.beside)
	if err != nil || st.Session != session || st.Chunks == 0 || st.Last != recording.Hash(got.chunks[st.Chunks-1]) {
		t.Errorf("the statement: %+v, %v", st, err)
	}
	shared.sweep(t)
	if got := state(); got != "complete" {
		t.Errorf("after its agent came back, it is %s", got)
	}
	p.must(t, "recording", "verify", session)
}

// Whoever ends the agent and empties its disk, before anything of a session was uploaded, leaves a session that is missed.
func TestASessionWhoseAgentIsWipedAtOnceIsMissed(t *testing.T) {
	p := shared.person(t, engineer).login(t)
	a := shared.agent(t, enrol{name: "node-wiped"})
	eventually(t, 30*time.Second, p.online(t, "node-wiped", true))
	_, ended := p.sees(t, "node-wiped", "head -c 250000 /dev/zero; exec sleep 60") // too little for a chunk
	session := ""
	eventually(t, 5*time.Second, func() string {
		for r, err := range p.client(t).Recordings(t.Context(), client.RecordingQuery{Target: "node/node-wiped"}) {
			if err != nil {
				return err.Error()
			}
			session = r.ID
		}
		if session == "" {
			return "the control plane doesn't know of the session"
		}
		return ""
	})
	if err := a.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-a.ended
	ended()
	if err := os.RemoveAll(filepath.Join(a.state, "recordings")); err != nil {
		t.Fatal(err)
	}
	shared.agent(t, enrol{name: "node-wiped", state: a.state})
	shared.lapse(t, session)
	shared.sweep(t)
	r, err := p.client(t).GetRecording(t.Context(), session)
	if err != nil || r.State != "incomplete" || r.Chunks != 0 {
		t.Errorf("%+v, %v", r, err)
	}
	if out := p.must(t, "recording", "ls", "--target", "node-wiped"); !strings.Contains(out, "incomplete") {
		t.Errorf("an auditor sees\n%s", out)
	}
	if out := p.must(t, "recording", "verify", session); !strings.Contains(out, "nothing was heard of agent") {
		t.Errorf("verified it is\n%s", out)
	}
}
