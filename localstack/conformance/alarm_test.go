package conformance_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"
)

func TestAnAlarmOnAQueryNeedsAPeriod(t *testing.T) {
	t.Parallel()
	taken := func(period string) bool {
		_, err := here.Stacks.Deploy(t.Context(), "alarm", map[string]string{"Prefix": here.Prefix, "Note": "period-" + period + nonce(), "Period": period})
		return err == nil
	}
	saw(t, "cloudwatch/alarm/query-period", fmt.Sprintf("with a period: %v\nwithout: %v", taken("yes"), taken("no")), "with a period: true\nwithout: false")
}

func TestAnAlarmReachesATopic(t *testing.T) {
	if absent(t, "cloudwatch/alarm/tells") {
		return
	}
	queue, got := extra(t)["QueueAlarm"], "nothing came"
	_ = poll(t.Context(), 10*time.Minute, func() (bool, error) {
		messages, err := here.Queue(t.Context(), queue)
		if err != nil || len(messages) == 0 {
			return false, err
		}
		var m struct{ NewStateValue, AlarmDescription string }
		got = "unreadable"
		if json.Unmarshal([]byte(messages[0]), &m) == nil {
			got = m.NewStateValue + ": " + m.AlarmDescription
		}
		return true, nil
	})
	saw(t, "cloudwatch/alarm/tells", got, "ALARM: The conformance suite: it has no data")
}
