package pattern_test

import (
	"testing"

	"github.com/stile-dev/stile/localstack/pattern"
)

const event = `{"dynamodb":{"Keys":{"pk":{"S":"role"}},"NewImage":{"n":{"N":"5"}}},"eventName":"INSERT","list":["a","b"],"flag":true,` +
	`"none":null,"empty":[],"resources":[{"ARN":"arn:1","type":"key"},{"ARN":"arn:2","type":"alias"}],"name":"arn:x:stile-login"}`

func TestPatternsChooseEvents(t *testing.T) {
	for _, c := range []struct {
		pattern string
		want    bool
	}{
		{`{"dynamodb":{"Keys":{"pk":{"S":["role","lock"]}}}}`, true},
		{`{"dynamodb":{"Keys":{"pk":{"S":["user"]}}}}`, false},
		{`{"eventName":["REMOVE","INSERT"],"flag":[true]}`, true},
		{`{"eventName":["INSERT"],"flag":[false]}`, false},
		{`{"missing":["x"]}`, false},
		{`{"missing":[null]}`, false},
		{`{"none":[null]}`, true},
		{`{"list":["b"]}`, true},
		{`{"list":["c"]}`, false},
		{`{"resources":{"ARN":["arn:2"]}}`, true},
		{`{"resources":{"ARN":["arn:2"],"type":["key"]}}`, false}, // of one and the same resource
		{`{"eventName":[{"prefix":"INS"}]}`, true},
		{`{"eventName":[{"prefix":"ins"}]}`, false},
		{`{"flag":[{"prefix":"t"}]}`, false},
		{`{"name":[{"wildcard":"*stile-*"}]}`, true},
		{`{"name":[{"wildcard":"arn:*:stile-*gin"}]}`, true},
		{`{"name":[{"wildcard":"stile-*"}]}`, false},
		{`{"name":[{"wildcard":"*stile"}]}`, false},
		{`{"name":[{"wildcard":"*login*stile*"}]}`, false},
		{`{"eventName":[{"anything-but":["MODIFY","REMOVE"]}]}`, true},
		{`{"eventName":[{"anything-but":["MODIFY","INSERT"]}]}`, false},
		{`{"eventName":[{"anything-but":"INSERT"}]}`, false},
		{`{"eventName":[{"anything-but":{"prefix":"INS"}}]}`, false},
		{`{"eventName":[{"anything-but":{"prefix":"Invoke"}}]}`, true},
		{`{"missing":[{"anything-but":["x"]}]}`, false}, // it needs the field
		{`{"missing":{"deep":[{"anything-but":["x"]},{"exists":false}]}}`, true},
		{`{"eventName":[{"exists":false}]}`, false},
		{`{"eventName":[{"exists":true}]}`, true},
		{`{"none":[{"exists":true}]}`, true}, // null counts as present
		{`{"$or":[{"missing":["x"]},{"list":["a"]}]}`, true},
		{`{"$or":[{"missing":["x"]},{"list":["c"]}]}`, false},
		{`{"$or":[{"missing":["x"]},{"list":["a"]}],"flag":[false]}`, false},
		{`{"dynamodb":{"$or":[{"NewImage":{"n":{"N":["5"]}}},{"OldImage":{"n":{"N":["5"]}}}]}}`, true},
	} {
		p, err := pattern.Parse([]byte(c.pattern))
		if err != nil {
			t.Errorf("%s: %v", c.pattern, err)
			continue
		}
		if got := p.Matches([]byte(event)); got != c.want {
			t.Errorf("%s matches: %v", c.pattern, got)
		}
	}
}

func TestAPatternThatIsNotUnderstoodIsRefused(t *testing.T) {
	for _, bad := range []string{
		`[]`, `{}`, `{"a":"x"}`, `{"a":[]}`, `{"a":[["b"]]}`, `{"a":[{"suffix":"x"}]}`, `{"a":[{"numeric":[">",1]}]}`,
		`{"a":[{"prefix":"x","wildcard":"y"}]}`, `{"a":[{"prefix":1}]}`, `{"a":[{"wildcard":"a**b"}]}`, `{"a":[{"wildcard":"a\\*"}]}`,
		`{"a":[{"exists":"no"}]}`, `{"a":[{"anything-but":[{"prefix":"x"}]}]}`, `{"a":[{"anything-but":{"suffix":"x"}}]}`,
		`{"$or":[]}`, `{"$or":[{"a":["b"]}]}`, `{"$or":["x","y"]}`, `{"$or":[{"a":["b"]},{}]}`,
	} {
		if _, err := pattern.Parse([]byte(bad)); err == nil {
			t.Errorf("%s was read", bad)
		}
	}
}

func TestWhatIsNoEventMatchesNothing(t *testing.T) {
	p, err := pattern.Parse([]byte(`{"a":[{"exists":false}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if p.Matches([]byte(`{`)) {
		t.Error("half an event matches")
	}
}
