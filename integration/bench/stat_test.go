package main

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestQuantilesLieBetweenNeighbours(t *testing.T) {
	s := sample{40, 10, 30, 20} // in no order, and left so
	for q, want := range map[float64]float64{0: 10, 0.5: 25, 0.75: 32.5, 1: 40} {
		if got := s.quantile(q); math.Abs(got-want) > 1e-9 {
			t.Errorf("quantile %v is %v, want %v", q, got, want)
		}
	}
	if diff := cmp.Diff(sample{40, 10, 30, 20}, s); diff != "" {
		t.Error(diff)
	}
	if got := (sample{7}).median(); got != 7 {
		t.Errorf("the median of one is %v", got)
	}
	if got := (sample{}).median(); !math.IsNaN(got) {
		t.Errorf("the median of nothing is %v", got)
	}
}

func TestRoundsInterleaveAndTheFirstDoesNotCount(t *testing.T) {
	var order []string
	fn := func(name string, values ...float64) func() (float64, error) {
		return func() (float64, error) {
			order = append(order, name)
			v := values[0]
			values = values[1:]
			return v, nil
		}
	}
	got, err := interleaved(2, []func() (float64, error){fn("a", 99, 1, 2), fn("b", 98, 3, 4)})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]sample{{1, 2}, {3, 4}}, got); diff != "" {
		t.Error(diff)
	}
	if strings.Join(order, "") != "ababab" {
		t.Errorf("called in order %v", order)
	}
}

func TestAMeasureThatFailsFailsTheRun(t *testing.T) {
	broken := errors.New("broken")
	if _, err := interleaved(3, []func() (float64, error){func() (float64, error) { return 0, broken }}); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}

func TestBudgetsAreJudgedInTheirDirection(t *testing.T) {
	for _, c := range []struct {
		row  row
		want string
	}{
		{row{stile: sample{5}, budget: 6}, "yes"},
		{row{stile: sample{7}, budget: 6}, "no"},
		{row{stile: sample{310}, budget: 300, more: true}, "yes"},
		{row{stile: sample{290}, budget: 300, more: true}, "no"},
		{row{stile: sample{5}}, ""},
	} {
		if got := c.row.met(); got != c.want {
			t.Errorf("%v of %v, more %v: %q, want %q", c.row.stile, c.row.budget, c.row.more, got, c.want)
		}
	}
}

func TestTheTableShowsRatios(t *testing.T) {
	var b strings.Builder
	err := print(&b, []row{{what: "connect", unit: "ms", stile: sample{4, 5, 6}, direct: sample{50}, budget: 6, directThen: 60}})
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(strings.Split(b.String(), "\n")[1])
	if got, want := strings.Join(fields, " "), "connect ms 50 – – 5 (4.5–5.5) 6 yes 0.10 0.10"; got != want {
		t.Errorf("the line is %q, want %q", got, want)
	}
	if ms(1500*time.Microsecond) != 1.5 {
		t.Error("milliseconds are not")
	}
}
