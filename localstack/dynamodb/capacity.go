package dynamodb

import (
	"maps"
	"slices"
)

// capacity is ConsumedCapacity, in units.
type capacity struct {
	TableName     string
	CapacityUnits float64
	Table         *units `json:",omitempty"`
}

type units struct{ CapacityUnits float64 }

// readUnits is what reading size bytes costs.
func readUnits(size int, consistent bool) float64 {
	blocks := max(1, (size+4095)/4096)
	if consistent {
		return float64(blocks)
	}
	return float64(blocks) / 2
}

// writeUnits is what writing an item of size bytes costs.
func writeUnits(size int) float64 { return float64(max(1, (size+1023)/1024)) }

// consumed is the ConsumedCapacity of one table, or nil when it wasn't asked for.
func consumed(asked, table string, total float64) *capacity {
	if asked == "" || asked == "NONE" {
		return nil
	}
	c := &capacity{TableName: table, CapacityUnits: total}
	if asked == "INDEXES" {
		c.Table = &units{CapacityUnits: total}
	}
	return c
}

// consumedByTable is the ConsumedCapacity of several tables, in the order of their names.
func consumedByTable(asked string, totals map[string]float64) []*capacity {
	var list []*capacity
	for _, table := range slices.Sorted(maps.Keys(totals)) {
		if c := consumed(asked, table, totals[table]); c != nil {
			list = append(list, c)
		}
	}
	return list
}

func checkCapacity(asked string) error {
	return oneOf("returnConsumedCapacity", asked, "INDEXES", "TOTAL", "NONE")
}
