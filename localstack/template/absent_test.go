package template

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWhatHasNoValueIsLeftOut(t *testing.T) {
	s := &Scope{Pseudo: new(Deployer).pseudo(""), conditions: map[string]bool{"On": true, "Off": false}}
	none := map[string]any{"Ref": "AWS::NoValue"}
	choice := func(condition string) map[string]any {
		return map[string]any{"Fn::If": []any{condition, map[string]any{"A": "a"}, none}}
	}
	got, err := s.Resolve(map[string]any{"Set": choice("On"), "Unset": choice("Off"), "List": []any{"a", none, choice("Off"), "b"}})
	if diff := cmp.Diff(map[string]any{"Set": map[string]any{"A": "a"}, "List": []any{"a", "b"}}, got); diff != "" || err != nil {
		t.Errorf("%v, (-want +got):\n%s", err, diff)
	}
	if got, err := s.Resolve(map[string]any{"Fn::Sub": "a${AWS::NoValue}"}); err == nil {
		t.Errorf("nothing became the text %v", got)
	}
}
