package glue_test

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/stile-dev/stile/localstack/glue"
)

func TestAPartitionIsWhereTheProjectionSays(t *testing.T) {
	now := time.Date(2026, 3, 4, 23, 59, 59, 0, time.UTC)
	with := func(more map[string]string, keys ...string) glue.Table {
		table := glue.Table{Location: "s3://lake/events/", Parameters: map[string]string{
			"projection.enabled": "true", "projection.day.type": "date", "projection.day.format": "yyyy-MM-dd", "projection.day.range": "2026-01-01,NOW+1DAY",
			"storage.location.template": "s3://lake/events/day=${day}/",
		}}
		maps.Copy(table.Parameters, more)
		for _, k := range keys {
			table.Partitions = append(table.Partitions, glue.Column{Name: k, Type: "string"})
		}
		return table
	}
	days := with(nil, "day")
	two := with(map[string]string{
		"projection.kind.type": "enum", "projection.kind.values": "a,b", "projection.hour.type": "integer", "projection.hour.range": "0,23",
		"storage.location.template": "s3://lake/events/${kind}/day=${day}/${hour}/",
	}, "day", "kind", "hour")
	for _, c := range []struct {
		table    glue.Table
		location string
		want     []string
	}{
		{days, "s3://lake/events/day=2026-03-04/x.parquet", []string{"2026-03-04"}},
		{days, "s3://lake/events/day=2026-03-05/deeper/x.parquet", []string{"2026-03-05"}},
		{days, "s3://lake/events/day=2026-03-06/x.parquet", nil}, // behind NOW+1DAY
		{days, "s3://lake/events/day=2026-01-01/x.parquet", []string{"2026-01-01"}},
		{days, "s3://lake/events/day=2025-12-31/x.parquet", nil},
		{days, "s3://lake/events/day=2026-3-4/x.parquet", nil},
		{days, "s3://lake/events/2026-03-04/x.parquet", nil},
		{days, "s3://other/events/day=2026-03-04/x.parquet", nil},
		{days, "s3://lake/events/day=2026-03-04", nil},
		{two, "s3://lake/events/b/day=2026-03-04/23/x", []string{"2026-03-04", "b", "23"}},
		{two, "s3://lake/events/c/day=2026-03-04/23/x", nil},
		{two, "s3://lake/events/b/day=2026-03-04/24/x", nil},
		{with(map[string]string{"projection.enabled": "false"}, "day"), "s3://lake/events/day=2026-03-04/x", nil},
		{with(map[string]string{"projection.day.range": "NOW-2DAYS,NOW"}, "day"), "s3://lake/events/day=2026-03-02/x", nil}, // its midnight is before
		{with(map[string]string{"projection.day.range": "NOW-2DAYS,NOW"}, "day"), "s3://lake/events/day=2026-03-03/x", []string{"2026-03-03"}},
	} {
		got, is := c.table.Partition(c.location, now)
		if is != (c.want != nil) || is && !slices.Equal(got, c.want) {
			t.Errorf("%s: %v %v, want %v", c.location, got, is, c.want)
		}
	}
	if _, is := with(nil).Partition("s3://lake/events/x", now); !is {
		t.Error("a table without keys has no object")
	}
}
