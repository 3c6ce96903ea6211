package conformance_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
)

func TestARateRunsItsFunction(t *testing.T) {
	t.Parallel()
	found := awaitNotes(t, 5*time.Minute, "rule", 2)
	var e struct {
		Version, Source, Account, Region string
		DetailType                       string `json:"detail-type"`
		Resources                        []string
		Detail                           map[string]any
	}
	if err := json.Unmarshal([]byte(found[0]), &e); err != nil {
		t.Fatal(err)
	}
	resource := ""
	if len(e.Resources) == 1 {
		resource, _, _ = strings.Cut(e.Resources[0], "/")
	}
	saw(t, "events/schedule/rate", fmt.Sprintf("%s %s %s %s %s %v\n%s", e.Version, e.Source, e.DetailType, e.Account, e.Region, e.Detail, resource),
		"0 aws.events Scheduled Event <account> <region> map[]\narn:aws:events:<region>:<account>:rule")
}

// foreign is the pattern of the rule ForeignSign of StileControl, with one key and one role.
const foreign = `{"source":["aws.kms"],"detail":{"eventName":["Sign"],"resources":{"ARN":["key-1"]},
	"userIdentity":{"sessionContext":{"sessionIssuer":{"arn":[{"anything-but":["role-1"]},{"exists":false}]}}}}}`

func TestThePatternOfTheAlarmMatchesWhomItShould(t *testing.T) {
	if absent(t, "events/pattern/anything-but-or-absent") {
		return
	}
	matches := func(identity string) bool {
		out, err := eventsClient(here.Config).TestEventPattern(t.Context(), &eventbridge.TestEventPatternInput{
			EventPattern: aws.String(foreign),
			Event: aws.String(`{"id":"1","account":"111122223333","source":"aws.kms","time":"2026-01-01T00:00:00Z","region":"us-east-1","resources":[],
				"detail-type":"AWS API Call via CloudTrail","detail":{"eventName":"Sign","resources":[{"ARN":"key-1"}],"userIdentity":` + identity + `}}`),
		})
		if err != nil {
			t.Fatal(err)
		}
		return out.Result
	}
	ours, another := `{"sessionContext":{"sessionIssuer":{"arn":"role-1"}}}`, `{"sessionContext":{"sessionIssuer":{"arn":"role-2"}}}`
	got := fmt.Sprintf("our role %v\nanother role %v\nno session, as of a user %v", matches(ours), matches(another), matches(`{"type":"IAMUser"}`))
	saw(t, "events/pattern/anything-but-or-absent", got,
		"our role false\nanother role true\nno session, as of a user true")
}

func TestAPatternReachesATopic(t *testing.T) {
	if absent(t, "events/rule/topic") {
		return
	}
	e := extra(t)
	first := func(queue string, limit time.Duration) string {
		in := &eventbridge.PutEventsInput{Entries: []types.PutEventsRequestEntry{{
			EventBusName: &here.Bus, Source: aws.String("stile.conformance"), DetailType: aws.String("alarm"), Detail: aws.String(`{"a":1}`),
		}}}
		text := "nothing came"
		_ = poll(t.Context(), limit, func() (bool, error) {
			if _, err := eventsClient(here.Config).PutEvents(t.Context(), in); err != nil {
				return false, err
			}
			got, err := here.Queue(t.Context(), queue)
			if err != nil || len(got) == 0 {
				return false, err
			}
			var m map[string]any
			text = "unreadable"
			if json.Unmarshal([]byte(got[0]), &m) == nil {
				text = fmt.Sprint(m["source"], " ", m["detail-type"], " ", m["detail"])
			}
			return true, nil
		})
		return text
	}
	const came = "stile.conformance alarm map[a:1]"
	saw(t, "events/rule/topic", first(e["QueuePlain"], 2*time.Minute), came)
	saw(t, "events/rule/topic-with-source-arn", first(e["QueueSourced"], 2*time.Minute), "nothing came")
}
