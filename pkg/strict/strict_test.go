package strict_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/strict"
)

type inner struct {
	Logins []string            `json:"logins,omitempty"`
	Labels map[string][]string `json:"labels,omitempty"`
	Pinned map[string]string   `json:"pinned,omitempty"`
	On     *bool               `json:"on,omitempty"`
}

type outer struct {
	Name  string    `json:"name"`
	Count int       `json:"count,omitempty"`
	Size  uint64    `json:"size,omitempty"`
	Time  time.Time `json:"time,omitzero"`
	Bytes []byte    `json:"bytes,omitempty"`
	Inner inner     `json:"inner,omitzero"`
	List  []inner   `json:"list,omitempty"`
	Free  any       `json:"free,omitempty"`
}

// readYAML reads a file of one document.
func readYAML(data []byte, limit int, v any, o strict.Options) error {
	documents, err := strict.ParseYAML(data, limit)
	if err != nil {
		return err
	}
	if len(documents) != 1 {
		return fmt.Errorf("there are %d documents", len(documents))
	}
	return documents[0].Into(v, o)
}

func TestYAMLAndJSONReadTheSameValues(t *testing.T) {
	yes := true
	want := outer{
		Name: "a", Count: -3, Size: 7, Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Bytes: []byte("hi"),
		Inner: inner{Logins: []string{"root"}, Labels: map[string][]string{"env": {"dev", "prod"}}, Pinned: map[string]string{"a.b": "c"}, On: &yes},
		List:  []inner{{Logins: []string{"x"}}},
		Free:  map[string]any{"k": []any{"v", true, nil}},
	}
	var got outer
	if err := readYAML([]byte(`
name: a
count: -3
size: 7
time: 2026-01-02T03:04:05Z
bytes: aGk=
inner:
  logins: [root]
  labels: {env: [dev, "prod"]}
  pinned: {a.b: c}
  on: true
list:
- logins:
  - x
free: {k: [v, true, null]}
`), strict.MaxSize, &got, strict.Options{}); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	got = outer{}
	if err := strict.JSON([]byte(`{"name":"a","count":-3,"size":7,"time":"2026-01-02T03:04:05Z","bytes":"aGk=",
		"inner":{"logins":["root"],"labels":{"env":["dev","prod"]},"pinned":{"a.b":"c"},"on":true},
		"list":[{"logins":["x"]}],"free":{"k":["v",true,null]}}`), strict.MaxSize, &got); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// What stands in a file is read or refused: the parser drops all behind an empty document.
func TestEveryDocumentOfAFileIsRead(t *testing.T) {
	for text, want := range map[string]string{
		"":                                       "",
		"---\n":                                  "",
		"# nothing\n---\n# more\n":               "",
		"name: a\n":                              "a@1",
		"name: a\n---\nname: b\n":                "a@1 b@3",
		"name: a\n---\n---\nname: b\n":           "a@1 b@4",
		"---\n---\nname: a\n---\nname: b\n---\n": "a@3 b@5",
		"name: a\n---\n# comment\n---\nname: b\n---\nname: c\n": "a@1 b@5 c@7",
		"name: a\n--- \n---\t\n\n--- # x\nname: b":              "a@1 b@6",
		"name: a\r\n---\r\n---\r\nname: b\r\n":                  "a@1 b@4",
		"name: a\r---\r---\rname: b\r":                          "a@1 b@4",
		"\ufeffname: a\n":                                       "a@1",
		"name: a\n...\n---\nname: b\n...\nname: c\n":            "a@1 b@4 c@6",
		"--- {name: a}\n--- {name: b}":                          "a@1 b@2",
		"name: |\n  ---\n  x\n---\nname: b\n":                   "---\nx\n@1 b@5",
		"name: a---\n---\nname: ---b\n":                         "a---@1 ---b@3",
	} {
		all, err := strict.ParseYAML([]byte(text), strict.MaxSize)
		var got []string
		for _, n := range all {
			got = append(got, fmt.Sprintf("%s@%d", n.Get("name").Text, n.Line))
		}
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
	for text, place := range map[string]string{
		"name: a\n---\n---\nname: [\n":        "line 4",
		"name: a\n---\n---\nname: *b\n":       "line 4, column 7",
		"name: a\n---\nname: b\nname: c\n":    "line 4",
		"name: 'a\n---\nname: b'\n":           "",
		"name: a\n---\nname: \"x\n---\ny\"\n": "",
	} {
		if all, err := strict.ParseYAML([]byte(text), strict.MaxSize); err == nil || !strings.Contains(err.Error(), place) {
			t.Errorf("%q: %d documents, %v", text, len(all), err)
		}
	}
}

func TestScalarsStandForListsOnlyWhenAsked(t *testing.T) {
	doc := []byte("inner: {logins: root, labels: {env: dev}}\n")
	var got outer
	if err := readYAML(doc, strict.MaxSize, &got, strict.Options{Scalars: true}); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(inner{Logins: []string{"root"}, Labels: map[string][]string{"env": {"dev"}}}, got.Inner); d != "" {
		t.Error(d)
	}
	if err := readYAML(doc, strict.MaxSize, &got, strict.Options{}); err == nil {
		t.Error("a scalar was taken for a list")
	}
}

func TestANumberWhereATimeBelongsIsToldItsForm(t *testing.T) {
	var got outer
	for text, want := range map[string]string{
		"time: 8\n":    `"8" is not a time; write it as 2006-01-02T15:04:05Z`,
		"time: true\n": "write a string, in quotes if need be",
	} {
		if err := readYAML([]byte(text), strict.MaxSize, &got, strict.Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestEveryFaultIsReportedWithItsPlace(t *testing.T) {
	var got outer
	err := readYAML([]byte("name: [a]\nconut: 3\ninner:\n  logins:\n  - 7\n  on: maybe\n  pinned: {a: }\ncount: 1.5\ntime: today\n"),
		strict.MaxSize, &got, strict.Options{})
	f := fault.From(err)
	want := []fault.Field{
		{Path: "line 1, column 7: name", Reason: "this is a list; write a string, in quotes if need be"},
		{Path: "line 2, column 1: conut", Reason: "unknown key; known here: bytes, count, free, inner, list, name, size, time"},
		{Path: "line 5, column 5: inner.logins[0]", Reason: "this is a number; write a string, in quotes if need be"},
		{Path: "line 6, column 7: inner.on", Reason: "this is a string; write true or false"},
		{Path: "line 7, column 12: inner.pinned.a", Reason: "this is empty; write a value or take the entry out"},
		{Path: "line 8, column 8: count", Reason: "this is a number; write a whole number in range"},
		{Path: "line 9, column 7: time", Reason: `"today" is not a time; write it as 2006-01-02T15:04:05Z`},
	}
	if d := cmp.Diff(want, f.Fields); d != "" {
		t.Error(d)
	}
	if f.Code != fault.BadInput || !strings.HasSuffix(f.Message, "(and 6 more)") || f.Hint == "" {
		t.Errorf("code %s, message %q, hint %q", f.Code, f.Message, f.Hint)
	}
}

// What is written is kept: what would vanish is refused where the writer is there to be asked.
func TestWhatIsWrittenAndSaysNothingIsRefusedWhenAsked(t *testing.T) {
	const doc = "name: ''\ncount: 0\nsize:\nbytes: ''\ninner:\n  logins: []\n  labels: {}\n  on: null\nlist: []\n"
	var got outer
	if err := readYAML([]byte(doc), strict.MaxSize, &got, strict.Options{}); err != nil {
		t.Fatalf("unasked: %v", err)
	}
	err := readYAML([]byte(doc), strict.MaxSize, &got, strict.Options{Written: true})
	var want []fault.Field
	for _, f := range []struct{ place, key string }{
		{"line 2, column 8: count", "count"},
		{"line 3, column 1: size", "size"},
		{"line 4, column 8: bytes", "bytes"},
		{"line 6, column 11: inner.logins", "logins"},
		{"line 7, column 11: inner.labels", "labels"},
		{"line 8, column 3: inner.on", "on"},
		{"line 9, column 7: list", "list"},
	} {
		why := "this is empty"
		if f.key == "count" {
			why = "0 is not allowed"
		}
		want = append(want, fault.Field{Path: f.place, Reason: why + "; write a value, or leave " + f.key + " out"})
	}
	if f := fault.From(err); f == nil {
		t.Error("taken")
	} else if d := cmp.Diff(want, f.Fields); d != "" {
		t.Error(d)
	}
	for _, says := range []string{"inner: {on: false}\n", "inner: {}\n", "name: a\n", "count: 1\nlist: [{logins: [root]}]\n"} {
		if err := readYAML([]byte(says), strict.MaxSize, &got, strict.Options{Written: true}); err != nil {
			t.Errorf("%q: %v", says, err)
		}
	}
}

func TestWhatANewerReleaseMayHaveWrittenIsReadWithoutWhatIsNotKnown(t *testing.T) {
	var got outer
	doc := `{"name":"a","later":{"x":[1]},"inner":{"logins":["root"],"more":true},"list":[{"logins":["x"],"more":null}]}`
	if err := strict.LaterJSON([]byte(doc), strict.MaxSize, &got); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(outer{Name: "a", Inner: inner{Logins: []string{"root"}}, List: []inner{{Logins: []string{"x"}}}}, got); d != "" {
		t.Error(d)
	}
	if err := strict.JSON([]byte(doc), strict.MaxSize, &got); err == nil {
		t.Error("without being asked to")
	}
	for name, doc := range map[string]string{
		"a known key twice":         `{"name":"a","name":"b"}`,
		"an unknown key twice":      `{"name":"a","later":1,"later":2}`,
		"a known key in other case": `{"name":"a","Name":"b"}`,
		"a wrong type":              `{"name":7,"later":1}`,
		"something behind":          `{"name":"a","later":1}{}`,
		"an unknown key too deep":   `{"later":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}`,
		"invalid UTF-8":             "{\"later\":\"\xff\"}",
		"too much":                  `{"later":"` + strings.Repeat("x", strict.MaxSize) + `"}`,
	} {
		if err := strict.LaterJSON([]byte(doc), strict.MaxSize, &outer{}); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

func TestKnowsFindsFieldsByTheirPaths(t *testing.T) {
	for path, want := range map[string]bool{
		"name": true, "inner": true, "inner.logins": true, "list.labels": true, "list": true, "time": true, "free": true,
		"": false, ".": false, "Name": false, "nam": false, "inner.": false, "inner.none": false, "name.x": false, "inner.labels.env": false, "time.wall": false, "free.x": false, "list[0].labels": false,
	} {
		if strict.Knows(outer{}, path) != want {
			t.Errorf("%q is not %t", path, want)
		}
	}
}

func TestYAMLRefusesWhatIsNotPlainData(t *testing.T) {
	for name, doc := range map[string]string{
		"an anchor":             "name: &a x\n",
		"an alias":              "name: &a x\nfree: *a\n",
		"a merge key":           "free: &a {k: v}\ninner:\n  <<: *a\n",
		"a tag":                 "name: !!str 7\n",
		"a number as key":       "free: {7: x}\n",
		"a doubled key":         "name: a\nname: b\n",
		"a key doubled by case": "free: {name: a, Name: b}\n",
		"an open bracket":       "free: [a\n",
		"a bare asterisk":       "free: {*: x}\n",
		"deep brackets":         "free: " + strings.Repeat("[", 3000) + strings.Repeat("]", 3000) + "\n",
		"deep dashes":           strings.Repeat("- ", 30000) + "x\n",
		"deep question marks":   strings.Repeat("? ", 30000) + "x\n",
		"deep indentation":      nested(300),
		"a laughing bomb":       "a: &a [x,x]\nb: &b [*a,*a]\nc: [*b,*b]\n",
		"not UTF-8":             "name: \"\xff\"\n",
		"too much":              "name: " + strings.Repeat("x", strict.MaxSize) + "\n",
		"infinity":              "free: .inf\n",
	} {
		t.Run(name, func(t *testing.T) {
			var got outer
			f := fault.From(readYAML([]byte(doc), strict.MaxSize, &got, strict.Options{}))
			if f == nil {
				t.Fatalf("taken as %+v", got)
			}
			if f.Code != fault.BadInput && f.Code != fault.TooLarge {
				t.Errorf("code %s: %s", f.Code, f.Message)
			}
			if f.Hint == "" || strings.Contains(f.Message, "strict") || strings.Contains(f.Message, "outer") {
				t.Errorf("message %q, hint %q", f.Message, f.Hint)
			}
		})
	}
}

func TestAFileHoldsAsManyDocumentsAsSayAnything(t *testing.T) {
	for doc, want := range map[string]int{"# nothing\n": 0, "name: a\n": 1, "name: a\n---\nname: b\n": 2, "---\n---\nname: a\n---\n": 1} {
		if documents, err := strict.ParseYAML([]byte(doc), strict.MaxSize); err != nil || len(documents) != want {
			t.Errorf("%q: %d documents, %v", doc, len(documents), err)
		}
	}
}

func nested(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	return b.String()
}

func TestJSONRefusesWhatDecodersDisagreeOn(t *testing.T) {
	for name, doc := range map[string]string{
		"a doubled key":             `{"name":"a","name":"b"}`,
		"a key in another case":     `{"Name":"a"}`,
		"a key doubled by case":     `{"free":{"a":1,"A":2}}`,
		"an unknown key":            `{"nam":"a"}`,
		"something after the end":   `{"name":"a"} {}`,
		"a bracket after the end":   `{"name":"a"}]`,
		"nothing":                   ``,
		"half a document":           `{"name":`,
		"a string for a number":     `{"count":"3"}`,
		"a fraction for an integer": `{"count":3.5}`,
		"a negative size":           `{"size":-1}`,
		"base64 that is not":        `{"bytes":"a"}`,
		"not UTF-8":                 "{\"name\":\"\xff\"}",
		"depth":                     `{"free":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}`,
		"a list where an object":    `[]`,
		"null in a list":            `{"inner":{"logins":[null]}}`,
	} {
		t.Run(name, func(t *testing.T) {
			var got outer
			if err := strict.JSON([]byte(doc), strict.MaxSize, &got); !fault.Is(err, fault.BadInput) {
				t.Errorf("taken as %+v: %v", got, err)
			}
		})
	}
}

func TestPlaceFindsTheNearestValue(t *testing.T) {
	docs, err := strict.ParseYAML([]byte("inner:\n  labels:\n    a.b: [x,\n      y]\n    a: z\n"), strict.MaxSize)
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"inner.labels.a.b[1]":  "line 4, column 7: inner.labels.a.b[1]",
		"inner.labels.a":       "line 5, column 5: inner.labels.a",
		"inner.labels.a.b":     "line 3, column 5: inner.labels.a.b",
		"inner.logins[3]":      "line 1, column 1: inner.logins[3]",
		"":                     "line 1, column 1",
		"inner.labels.a.b[17]": "line 3, column 5: inner.labels.a.b[17]",
	} {
		if got := docs[0].Place(path); got != want {
			t.Errorf("Place(%q) = %q, want %q", path, got, want)
		}
	}
}

func TestTheSizeOfACutDocumentIsNotTold(t *testing.T) {
	for limit, want := range map[int]string{
		strict.MaxSize: "the document is longer than 65536 bytes; 64 KiB are allowed",
		100:            "the document is longer than 100 bytes; 100 bytes are allowed",
	} {
		if _, err := strict.ParseYAML(make([]byte, limit+1), limit); !fault.Is(err, fault.TooLarge) || fault.From(err).Message != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// FuzzJSON: what is taken is what encoding/json reads as well, so that no two readers of one body disagree, and
// everything else is the sender's fault.
func FuzzJSON(f *testing.F) {
	for _, seed := range []string{
		`{"name":"a","count":-3,"size":7,"inner":{"logins":["x"],"on":true},"list":[{}],"free":{"k":[1,null]}}`, `{"name":"a","name":"b"}`, `{"Name":"a"}`, `{"name":"\ud800"}`, `{}x`,
		`{"count":1e2}`, `{"size":-1}`, `{"bytes":"aGk="}`, `{"time":"2026-01-02T03:04:05Z"}`, `[`, strings.Repeat("[", 100), "\xff", `{"name":null}`, "",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var got, want outer
		if err := strict.JSON([]byte(s), strict.MaxSize, &got); err != nil {
			if code := fault.From(err).Code; code != fault.BadInput && code != fault.TooLarge {
				t.Fatalf("%q: %v", s, err)
			}
			return
		}
		if err := json.Unmarshal([]byte(s), &want); err != nil {
			t.Fatalf("%q is taken, and not by encoding/json: %v", s, err)
		}
		got.Free, want.Free = nil, nil // numbers in it are kept in another form
		if d := cmp.Diff(want, got, cmpopts.EquateEmpty()); d != "" {
			t.Errorf("%q: %s", s, d)
		}
	})
}
