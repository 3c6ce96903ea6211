package resource_test

import (
	"strings"
	"testing"

	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/resource"
)

func TestSettingsAreTheClustersAndSayHowToRecord(t *testing.T) {
	const settings = "kind: settings\nmetadata: {name: cluster}\nspec: "
	for _, spec := range []string{"{record: strict}", "{record: best-effort, record_at: node}", "{record: 'off'}", "{}"} {
		if _, err := read([]byte(settings + spec)); err != nil {
			t.Errorf("%s: %v", spec, err)
		}
	}
	for document, why := range map[string]string{
		settings + "{record: always}":                                                        "not a way to record",
		settings + "{record_at: gateway}":                                                    "comes with servers that have no agent",
		settings + "{record_at: proxy}":                                                      "write node",
		settings + "{recorded: strict}":                                                      "unknown",
		strings.Replace(settings, "cluster", "other", 1) + "{}":                              "the cluster has one",
		strings.Replace(settings, "{name: cluster}", "{name: cluster, scope: /a}", 1) + "{}": "whole cluster",
	} {
		if r, err := read([]byte(document)); err == nil || !strings.Contains(fault.From(err).Error()+fault.From(err).Fields[0].Reason, why) {
			t.Errorf("%s: %+v, %v", document, r, err)
		}
	}
}

func TestTheStricterOfTwoModesCounts(t *testing.T) {
	modes := []string{"", resource.RecordOff, resource.RecordBestEffort, resource.RecordStrict}
	for i, a := range modes {
		for j, b := range modes {
			if got := resource.Strictest(a, b); got != modes[max(i, j)] {
				t.Errorf("%q and %q: %q", a, b, got)
			}
		}
	}
	if resource.Strictest("", "later") != resource.RecordStrict {
		t.Error("a mode that isn't known records nothing")
	}
}
