package main

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"text/tabwriter"
)

// row is one line of the table: what was measured by each way, and the budget of the design.
type row struct {
	what, unit                 string
	direct, jump, floor, stile sample
	budget                     float64 // 0 is none
	more                       bool    // more is better
	directThen                 float64 // what direct ssh took when the budget was set; 0 is nothing to compare with
}

// met says whether the median keeps the budget.
func (r row) met() string {
	switch m := r.stile.median(); {
	case r.budget == 0:
		return ""
	case r.more && m >= r.budget, !r.more && m <= r.budget:
		return "yes"
	}
	return "no"
}

// print writes the rows as a table. A ratio is a median beside that of direct ssh; ratios carry over to another machine.
func print(w io.Writer, rows []row) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "WHAT\tUNIT\tDIRECT SSH\tSSH -J\tFLOOR\tSTILE (QUARTILES)\tBUDGET\tMET\tRATIO\tBUDGET'S")
	for _, r := range rows {
		stile := number(r.stile.median())
		if len(r.stile) > 2 {
			stile += " (" + number(r.stile.quantile(0.25)) + "–" + number(r.stile.quantile(0.75)) + ")"
		}
		budget, ratio, allowed := "", "", ""
		if r.budget != 0 {
			budget = number(r.budget)
		}
		if len(r.direct) > 0 {
			ratio = fraction(r.stile.median() / r.direct.median())
		}
		if r.directThen != 0 && r.budget != 0 {
			allowed = fraction(r.budget / r.directThen)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.what, r.unit,
			number(r.direct.median()), number(r.jump.median()), number(r.floor.median()), stile, budget, r.met(), ratio, allowed)
	}
	return t.Flush()
}

// number shows three digits or so.
func number(v float64) string {
	switch {
	case math.IsNaN(v):
		return "–"
	case math.Abs(v) >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}

func fraction(v float64) string { return strconv.FormatFloat(v, 'f', 2, 64) }
