package balance_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stile-dev/stile/localstack/balance"
)

func TestTargetsComeAndGoLate(t *testing.T) {
	began, m := time.Unix(1000, 0), balance.Members{}
	at := func(seconds int) time.Time { return began.Add(time.Duration(seconds) * time.Second) }
	late := balance.Late{Register: 180 * time.Second, Deregister: 120 * time.Second}
	type targets = []string
	for _, step := range []struct {
		at         int
		change     targets // nil for none
		late       balance.Late
		here, gone targets
	}{
		{0, targets{"a"}, balance.Late{}, targets{"a"}, nil},
		{10, targets{"a", "b"}, late, targets{"a"}, nil},
		{189, nil, late, targets{"a"}, nil},
		{190, nil, late, targets{"a", "b"}, nil},
		{200, targets{"b"}, late, targets{"b"}, targets{"a"}},
		{319, nil, late, targets{"b"}, targets{"a"}},
		{320, nil, late, targets{"b"}, nil},
		{330, targets{}, late, nil, targets{"b"}},
		{340, targets{"b"}, late, nil, nil}, // it starts over
		{520, nil, late, targets{"b"}, nil},
		{530, targets{"b", "c"}, late, targets{"b"}, nil},
		{540, targets{"b"}, late, targets{"b"}, nil}, // gone before its turn came
		{700, nil, late, targets{"b"}, nil},
		{710, targets{"d"}, balance.Late{}, targets{"d"}, nil},
	} {
		if step.change != nil {
			balance.Change(m, step.change, step.late, at(step.at))
		}
		here, gone := balance.Serving(m, at(step.at))
		if diff := cmp.Diff([]targets{step.here, step.gone}, []targets{here, gone}); diff != "" {
			t.Errorf("after %d s: %s", step.at, diff)
		}
	}
}
