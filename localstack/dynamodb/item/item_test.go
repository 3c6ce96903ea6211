package item_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math/big"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/stile-dev/stile/localstack/dynamodb/item"
)

func TestNumbersComeBackCanonical(t *testing.T) {
	for given, want := range map[string]string{
		"0": "0", "-0": "0", "0e500": "0", "007.50e3": "7500", "+5": "5", ".5": "0.5", "1.": "1", "1.5E2": "150",
		"1e-130": "0." + strings.Repeat("0", 129) + "1", "-1E125": "-1" + strings.Repeat("0", 125),
	} {
		if got, err := item.ParseNumber(given); err != nil || got != want {
			t.Errorf("%s: got %s, %v; want %s", given, got, err, want)
		}
	}
	for given, want := range map[string]string{
		"":                      "The parameter cannot be converted to a numeric value",
		"abc":                   "The parameter cannot be converted to a numeric value: abc",
		"1 2":                   "The parameter cannot be converted to a numeric value: 1 2",
		"1_0":                   "The parameter cannot be converted to a numeric value: 1_0",
		"NaN":                   "The parameter cannot be converted to a numeric value: NaN",
		"1e":                    "The parameter cannot be converted to a numeric value: 1e",
		"1e+-5":                 "The parameter cannot be converted to a numeric value: 1e+-5",
		"1e126":                 "Number overflow. Attempting to store a number with magnitude larger than supported range",
		"9e-131":                "Number underflow. Attempting to store a number with magnitude smaller than supported range",
		strings.Repeat("1", 39): "Attempting to store more than 38 significant digits in a Number",
	} {
		if _, err := item.ParseNumber(given); err == nil || err.Error() != want {
			t.Errorf("%q: got %v, want %s", given, err, want)
		}
	}
}

var numbers = rapid.Custom(func(t *rapid.T) string {
	mantissa := rapid.Int64Range(-1e15, 1e15).Draw(t, "mantissa")
	return fmt.Sprintf("%de%d", mantissa, rapid.IntRange(-20, 20).Draw(t, "exponent"))
})

func canonical(t *rapid.T, text string) (string, *big.Rat) {
	c, err := item.ParseNumber(text)
	if err != nil {
		t.Fatal(err)
	}
	exact, ok := new(big.Rat).SetString(text)
	if !ok {
		t.Fatalf("%s is no number", text)
	}
	return c, exact
}

func TestNumbersSortAndAddLikeExactFractions(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, x := canonical(t, numbers.Draw(t, "a"))
		b, y := canonical(t, numbers.Draw(t, "b"))
		if got := item.Number(a).Compare(item.Number(b)); got != x.Cmp(y) {
			t.Errorf("compare %s %s: %d", a, b, got)
		}
		if got := cmp.Compare(item.Number(a).Sortable(), item.Number(b).Sortable()); got != x.Cmp(y) {
			t.Errorf("keys of %s %s sort as %d", a, b, got)
		}
		total, err := item.Sub(a, b)
		if err != nil {
			if !strings.Contains(err.Error(), "38 significant digits") {
				t.Error(err)
			}
			return
		}
		if got, _ := new(big.Rat).SetString(total); got.Cmp(new(big.Rat).Sub(x, y)) != 0 {
			t.Errorf("%s - %s = %s", a, b, total)
		}
	})
}

func TestValuesSurviveTheWire(t *testing.T) {
	const text = `{"b":{"B":"AAE="},"bo":{"BOOL":false},"bs":{"BS":["AQ==","Ag=="]},"l":{"L":[{"S":""},{"N":"1"}]},"m":{"M":{"a":{"NULL":true}}},"n":{"N":"-1.5"},"ns":{"NS":["1","2"]},"s":{"S":"\u00e9"},"ss":{"SS":["a","b"]}}`
	var i, again item.Item
	if err := json.Unmarshal([]byte(text), &i); err != nil {
		t.Fatal(err)
	}
	written, err := json.Marshal(i)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(written, &again); err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff(i, again); diff != "" {
		t.Error(diff)
	}
	if i.Size() != 42 {
		t.Errorf("size %d", i.Size())
	}
}

func TestValuesAreRefusedInTheWordsOfAWS(t *testing.T) {
	deep := `{"S":"x"}`
	for range 33 {
		deep = `{"L":[` + deep + `]}`
	}
	for given, want := range map[string]string{
		`{}`:                     "Supplied AttributeValue is empty, must contain exactly one of the supported datatypes",
		`{"X":"1"}`:              "Supplied AttributeValue is empty, must contain exactly one of the supported datatypes",
		`{"S":"a","N":"1"}`:      "Supplied AttributeValue has more than one datatypes set, must contain exactly one of the supported datatypes",
		`{"NULL":false}`:         "One or more parameter values were invalid: Null attribute value types must have the value of true",
		`{"SS":[]}`:              "One or more parameter values were invalid: An string set  may not be empty",
		`{"SS":["a","a"]}`:       "One or more parameter values were invalid: Input collection [a, a] contains duplicates.",
		`{"NS":["1","1.0"]}`:     "Input collection contains duplicates",
		`{"BS":["AA==","AA=="]}`: "One or more parameter values were invalid: Input collection of type BS contains duplicates.",
		`{"S":5}`:                "NUMBER_VALUE cannot be converted to String",
		`{"B":"%"}`:              "Base64 encoded length is expected a multiple of 4 bytes but found: 1",
		deep:                     "Nesting Levels have exceeded supported limits",
	} {
		var v item.Value
		if err := json.Unmarshal([]byte(given), &v); err == nil || err.Error() != want {
			t.Errorf("%.60s: got %v, want %s", given, err, want)
		}
	}
}
