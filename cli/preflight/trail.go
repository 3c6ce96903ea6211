package preflight

import (
	"context"
	"fmt"
	"slices"
)

// maxTrails bounds how many trails are looked at; AWS allows five in a Region, and those of other Regions that reach into it.
const maxTrails = 50

const kms = "kms.amazonaws.com"

// trails look for one that logs reading management events with KMS's: kms:Sign is one, and without it the alarms about keys
// hear nothing.
var trails = []check{{
	name: "CloudTrail", needed: "a trail that logs KMS's management events, reading ones too",
	actions: []string{"cloudtrail:DescribeTrails", "cloudtrail:GetTrailStatus", "cloudtrail:GetEventSelectors"},
	look: func(ctx context.Context, a *account) (Row, error) {
		var out struct {
			TrailList []trail `json:"trailList"`
		}
		if err := a.trailCall(ctx, "DescribeTrails", map[string]any{"includeShadowTrails": true}, &out); err != nil {
			return Row{}, err
		}
		if out.TrailList == nil {
			return Row{}, missing("cloudtrail:DescribeTrails", "trailList")
		}
		if len(out.TrailList) > maxTrails {
			return Row{}, fmt.Errorf("there are more than %d trails", maxTrails)
		}
		var unseen error
		for _, t := range out.TrailList {
			if t.HomeRegion != a.region && !t.IsMultiRegionTrail {
				continue
			}
			hears, err := a.hears(ctx, t.TrailARN)
			if hears && err == nil {
				return Row{Found: t.Name, Verdict: OK}, nil
			}
			if err != nil {
				unseen = err
			}
		}
		if unseen != nil {
			return Row{}, unseen
		}
		return Row{
			Found: fmt.Sprintf("none among %d trails", len(out.TrailList)), Verdict: Warn,
			Hint: "make a trail that logs management events, reading and writing, without leaving out KMS: else no alarm tells of a strange use of a key",
		}, nil
	},
}}

type trail struct {
	Name, TrailARN, HomeRegion string
	IsMultiRegionTrail         bool
}

func (a *account) trailCall(ctx context.Context, operation string, in, out any) error {
	return a.json(ctx, "cloudtrail", "com.amazonaws.cloudtrail.v20131101.CloudTrail_20131101", operation, in, out)
}

// selectors say what a trail logs, in the older form or the newer.
type selectors struct {
	EventSelectors []struct {
		IncludeManagementEvents       bool
		ReadWriteType                 string
		ExcludeManagementEventSources []string
	}
	AdvancedEventSelectors []struct {
		FieldSelectors []field
	}
}

type field struct {
	Field                                                               string
	Equals, NotEquals, StartsWith, NotStartsWith, EndsWith, NotEndsWith []string
}

// hears reports whether a trail logs kms:Sign.
func (a *account) hears(ctx context.Context, arn string) (bool, error) {
	var status struct{ IsLogging *bool }
	if err := a.trailCall(ctx, "GetTrailStatus", map[string]string{"Name": arn}, &status); err != nil {
		return false, err
	}
	if status.IsLogging == nil {
		return false, missing("cloudtrail:GetTrailStatus", "IsLogging")
	}
	if !*status.IsLogging {
		return false, nil
	}
	var s selectors
	if err := a.trailCall(ctx, "GetEventSelectors", map[string]string{"TrailName": arn}, &s); err != nil {
		return false, err
	}
	if s.EventSelectors == nil && s.AdvancedEventSelectors == nil {
		return false, missing("cloudtrail:GetEventSelectors", "EventSelectors")
	}
	return s.takeSign(), nil
}

func (s selectors) takeSign() bool {
	for _, e := range s.EventSelectors {
		if e.IncludeManagementEvents && slices.Contains([]string{"All", "ReadOnly"}, e.ReadWriteType) && !slices.Contains(e.ExcludeManagementEventSources, kms) {
			return true
		}
	}
	for _, e := range s.AdvancedEventSelectors {
		management := slices.ContainsFunc(e.FieldSelectors, func(f field) bool { return f.Field == "eventCategory" })
		if management && !slices.ContainsFunc(e.FieldSelectors, func(f field) bool { return !f.takesSign() }) {
			return true
		}
	}
	return false
}

// takesSign reports whether the event kms:Sign passes one condition; one that isn't known here lets nothing pass.
func (f field) takesSign() bool {
	value, known := map[string]string{"eventCategory": "Management", "eventSource": kms, "readOnly": "true", "eventName": "Sign"}[f.Field]
	if !known || len(f.StartsWith)+len(f.NotStartsWith)+len(f.EndsWith)+len(f.NotEndsWith) > 0 {
		return false
	}
	return (len(f.Equals) == 0 || slices.Contains(f.Equals, value)) && !slices.Contains(f.NotEquals, value)
}
