package conformance_test

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
)

func eventsClient(c aws.Config) *eventbridge.Client {
	return eventbridge.NewFromConfig(c, func(o *eventbridge.Options) {
		if here.Endpoint != "" {
			o.BaseEndpoint = aws.String(here.Endpoint)
		}
	})
}

func event(detail string) types.PutEventsRequestEntry {
	return types.PutEventsRequestEntry{EventBusName: &here.Bus, Source: aws.String("stile.audit"), DetailType: aws.String("user.login"), Detail: &detail}
}

func TestOneBadEventDoesNotTakeTheOthersAlong(t *testing.T) {
	holds(t, "events/put/partial-failure")
	reserved := event(`{}`)
	reserved.Source = aws.String("aws.ec2")
	out, err := eventsClient(here.Config).PutEvents(t.Context(), &eventbridge.PutEventsInput{Entries: []types.PutEventsRequestEntry{
		event(`{"a":1}`), event(`{"a":`), event(`[1]`), reserved, event(`{"b":2}`),
	}})
	if err != nil {
		t.Fatal(err)
	}
	if out.FailedEntryCount != 3 {
		t.Errorf("%d failed, want 3", out.FailedEntryCount)
	}
	for i, want := range []string{"", "MalformedDetail", "MalformedDetail", "NotAuthorizedForSourceException", ""} {
		e := out.Entries[i]
		if aws.ToString(e.ErrorCode) != want || (want == "") != (e.EventId != nil) {
			t.Errorf("entry %d: code %q, id %q, want code %q", i, aws.ToString(e.ErrorCode), aws.ToString(e.EventId), want)
		}
	}
}

func TestElevenEventsAreTooMany(t *testing.T) {
	holds(t, "events/put/eleven")
	entries := make([]types.PutEventsRequestEntry, 11)
	for i := range entries {
		entries[i] = event(`{}`)
	}
	_, err := eventsClient(here.Config).PutEvents(t.Context(), &eventbridge.PutEventsInput{Entries: entries})
	wantCode(t, err, "ValidationException")
}

func TestAMegabyteOfEventsIsTooMuch(t *testing.T) {
	holds(t, "events/put/size")
	_, err := eventsClient(here.Config).PutEvents(t.Context(), &eventbridge.PutEventsInput{Entries: []types.PutEventsRequestEntry{
		event(`{"a":"` + strings.Repeat("x", 1<<20) + `"}`),
	}})
	if err == nil {
		t.Error("an entry above the limit was taken")
	}
}

func TestPutEventsNeedsItsPermission(t *testing.T) {
	holds(t, "events/put/permission")
	_, err := eventsClient(narrowed(t, allow("events:PutEvents", "arn:aws:events:*:*:event-bus/another"))).PutEvents(t.Context(), &eventbridge.PutEventsInput{
		Entries: []types.PutEventsRequestEntry{event(`{}`)},
	})
	wantCode(t, err, "AccessDeniedException")
}
