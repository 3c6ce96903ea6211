package owed_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/stile-dev/stile/pkg/ledger/compare/owed"
	"github.com/stile-dev/stile/pkg/table"
)

var day = time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)

// hour is one of the day.
func hour(n int) owed.Hour { return owed.Hour{From: day.Add(time.Duration(n) * time.Hour)} }

// state is the table of state.
type state struct {
	table.API
	stated int // hours of the day; 0 is before the first
	kept   owed.Kept
	down   string // an item that can't be read, by its partition
}

func (s *state) GetItem(_ context.Context, in *dynamodb.GetItemInput, _ ...func(*dynamodb.Options)) (*dynamodb.GetItemOutput, error) {
	key := table.Item(in.Key)
	switch {
	case key.Text("pk") == s.down:
		return nil, errors.New("throttled")
	case key.Text("sk") != "lake" || s.stated == 0:
		return &dynamodb.GetItemOutput{}, nil
	case key.Text("pk") == "checked":
		return &dynamodb.GetItemOutput{Item: table.Item{"until_ms": table.Int(day.Add(time.Duration(s.stated) * time.Hour).UnixMilli())}}, nil
	}
	b, err := json.Marshal(s.kept)
	return &dynamodb.GetItemOutput{Item: table.Item{"value": table.String(string(b)), "revision": table.Int(1)}}, err
}

func TestWhatIsOwedIsToldAsTimes(t *testing.T) {
	front := hour(9)
	stated := hour(8)
	for name, c := range map[string]struct {
		state state
		want  string
	}{
		"never compared":           {state{}, "never"},
		"to begin at noon":         {state{stated: 12}, "never"},
		"nothing is owed":          {state{stated: 9}, "09"},
		"an hour":                  {state{stated: 9, kept: owed.Kept{Owed: []owed.Hour{hour(3)}}}, "09 03-04"},
		"hours beside each other":  {state{stated: 9, kept: owed.Kept{Owed: []owed.Hour{hour(4), hour(1), hour(5), hour(3)}}}, "09 01-02 03-06"},
		"one that is looked at":    {state{stated: 9, kept: owed.Kept{Front: &front}}, "09"},
		"one that isn't owed yet":  {state{stated: 9, kept: owed.Kept{Front: &stated}}, "09 08-09"},
		"one that is and some are": {state{stated: 9, kept: owed.Kept{Front: &stated, Owed: []owed.Hour{hour(7)}}}, "09 07-09"},
	} {
		until, lacks, err := owed.NewReader(&c.state, "state").Known(t.Context(), day.Add(10*time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		got := "never"
		if !until.IsZero() {
			got = until.Format("15")
		}
		for _, l := range lacks {
			got += fmt.Sprintf(" %s-%s", l.From.Format("15"), l.To.Format("15"))
		}
		if got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

func TestWhatCantBeReadIsNotKnown(t *testing.T) {
	for _, down := range []string{"checked", "looked"} {
		if _, _, err := owed.NewReader(&state{stated: 1, down: down}, "state").Known(t.Context(), day.Add(10*time.Hour)); err == nil {
			t.Errorf("without %s it is known", down)
		}
	}
}
