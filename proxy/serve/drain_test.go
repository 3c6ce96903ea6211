package serve

import (
	"encoding/json"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stile-dev/stile/proxy/config"
)

func TestAPortIsOpenWhilePeopleAreSentHereAndForAMomentForAgents(t *testing.T) {
	for _, c := range []struct {
		linger, ago time.Duration
		agents      int
		open        bool
	}{
		{110 * time.Second, 0, 0, true},
		{110 * time.Second, 109 * time.Second, 0, true}, // though nobody has come for long
		{110 * time.Second, 110 * time.Second, 0, false},
		{110 * time.Second, 110 * time.Second, 1, false},
		{0, 0, 0, false},
		{0, 0, 1, true},
		{0, handOver - 1, 1, true},
		{0, handOver, 1, false},
		{2 * time.Second, 3 * time.Second, 1, true},
	} {
		if got := listening(c.linger, c.ago, c.agents); got != c.open {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

// deployed is what the template says of the end of a task.
type deployed struct {
	Parameters struct {
		LingerSeconds struct{ Default, MaxValue int }
	}
	Resources struct {
		Task struct {
			Properties struct {
				ContainerDefinitions []struct{ StopTimeout int }
			}
		}
		Targets struct {
			Properties struct {
				TargetGroupAttributes []struct{ Key, Value string }
			}
		}
	}
}

func TestATaskIsKilledAfterItsDrainAndTakesPeopleForAsLongAsItCan(t *testing.T) {
	text, err := os.ReadFile("../../infra/templates/StileFleet.json")
	if err != nil {
		t.Fatal(err)
	}
	var d deployed
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	stop, delay := 0, -1
	for _, c := range d.Resources.Task.Properties.ContainerDefinitions {
		stop = c.StopTimeout
	}
	for _, a := range d.Resources.Targets.Properties.TargetGroupAttributes {
		if a.Key == "deregistration_delay.timeout_seconds" {
			delay, _ = strconv.Atoi(a.Value)
		}
	}
	if last := config.DrainLimit + handOver; time.Duration(stop)*time.Second <= last || stop > 120 {
		t.Errorf("a task is killed %d s after it was told to end, and may take %s; Fargate allows 120 s", stop, last)
	}
	if delay != 0 {
		t.Errorf("for %d s people are sent to new proxies, while nobody has told the agents to go there", delay)
	}
	if l, limit := d.Parameters.LingerSeconds, int(config.DrainLimit/time.Second); l.Default != limit || l.MaxValue != limit {
		t.Errorf("it takes people for %d s, or %d at most, and could for %d", l.Default, l.MaxValue, limit)
	}
}
