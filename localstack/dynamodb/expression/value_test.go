package expression_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/stile-dev/stile/localstack/dynamodb/expression"
	"github.com/stile-dev/stile/localstack/dynamodb/item"
)

func list(v ...item.Value) item.Value { return item.Value{Kind: item.L, List: v} }

var thing = item.Item{
	"a": item.String("apple"), "n": item.Number("5"), "name": item.String("x"),
	"l": list(item.String("zero"), item.Number("1"), item.String("two")),
	"m": {Kind: item.M, Map: item.Item{"qty": item.Number("3"), "deep": {Kind: item.M, Map: item.Item{"er": item.String("y")}}}},
	"s": item.NewSet(item.SS, []string{"p", "r"}),
}

func TestConditionsHoldAsTheyReadOut(t *testing.T) {
	for source, want := range map[string]bool{
		"attribute_exists(a)":                 true,
		"attribute_not_exists(zz)":            true,
		"attribute_exists(m.deep.er)":         true,
		"attribute_exists(l[3])":              false,
		"begins_with(a, :s)":                  true,
		"n BETWEEN :n AND :two":               false,
		"zz <> :s":                            true,
		"zz = :s":                             false,
		"zz < :s":                             false,
		"NOT zz < :s":                         true,
		"n > :s":                              false,
		"#n <> :s AND (a = :s OR NOT n = :n)": true,
		"a = :s OR a <> :s AND attribute_not_exists(a)": false,
		"(n) >= (:two)": true,
	} {
		t.Run(source, func(t *testing.T) {
			c, err := expression.ParseCondition(expression.ConditionExpression, source, env(t))
			if err != nil {
				t.Fatal(err)
			}
			if got := c.Holds(thing); got != want {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestUpdatesReadTheItemAsItWas(t *testing.T) {
	u, err := expression.ParseUpdate("SET a = n, n = n + :two, l[9] = :s, l[0] = l[2], m.deep.er = if_not_exists(zz, :s) REMOVE l[1], #n ADD cnt :n, s :set", env(t))
	if err != nil {
		t.Fatal(err)
	}
	got, err := u.Apply(thing)
	if err != nil {
		t.Fatal(err)
	}
	want := item.Item{
		"a": item.Number("5"), "n": item.Number("7"), "cnt": item.Number("1"),
		"l": list(item.String("two"), item.String("two"), item.String("a")),
		"m": {Kind: item.M, Map: item.Item{"qty": item.Number("3"), "deep": {Kind: item.M, Map: item.Item{"er": item.String("a")}}}},
		"s": item.NewSet(item.SS, []string{"p", "q", "r"}),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if thing["a"].Text != "apple" || len(thing["l"].List) != 3 || thing["m"].Map["deep"].Map["er"].Text != "y" {
		t.Error("the update changed the old item")
	}
}

func TestTouchedIsTheNamedPartOnly(t *testing.T) {
	u, err := expression.ParseUpdate("SET m.deep.er = :s, l[1] = :s, zz = :s", env(t))
	if err != nil {
		t.Fatal(err)
	}
	want := item.Item{
		"l": list(item.Number("1")),
		"m": {Kind: item.M, Map: item.Item{"deep": {Kind: item.M, Map: item.Item{"er": item.String("y")}}}},
	}
	if diff := cmp.Diff(want, u.Touched(thing)); diff != "" {
		t.Error(diff)
	}
}

func TestUpdatesFailOnWhatTheItemIs(t *testing.T) {
	for source, want := range map[string]string{
		"SET a = a + :n":                "An operand in the update expression has an incorrect data type",
		"SET a = zz":                    "The provided expression refers to an attribute that does not exist in the item",
		"SET a = if_not_exists(a, zz)":  "The provided expression refers to an attribute that does not exist in the item",
		"SET zz.b = :s":                 "The document path provided in the update expression is invalid for update",
		"SET a[0] = :s":                 "The document path provided in the update expression is invalid for update",
		"REMOVE zz.b":                   "The document path provided in the update expression is invalid for update",
		"ADD a :n":                      "An operand in the update expression has an incorrect data type",
		"SET a = list_append(a, :list)": "An operand in the update expression has an incorrect data type",
	} {
		t.Run(source, func(t *testing.T) {
			u, err := expression.ParseUpdate(source, env(t))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := u.Apply(thing); err == nil || err.Error() != want {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestNotTurnsEveryConditionRound(t *testing.T) {
	operands := rapid.SampledFrom([]string{"a", "n", "l[1]", "m.qty", "zz", ":n", ":s", ":two"})
	comparators := rapid.SampledFrom([]string{"=", "<>", "<", "<=", ">", ">="})
	rapid.Check(t, func(t *rapid.T) {
		source := operands.Draw(t, "left") + " " + comparators.Draw(t, "op") + " " + operands.Draw(t, "right")
		e, err := expression.NewEnv(placeholders, true, "")
		if err != nil {
			t.Fatal(err)
		}
		plain, err := expression.ParseCondition(expression.ConditionExpression, source, e)
		if err != nil {
			return // such as a first operand that occurs again
		}
		turned, err := expression.ParseCondition(expression.ConditionExpression, "NOT ("+source+")", e)
		if err != nil {
			t.Fatal(err)
		}
		if plain.Holds(thing) == turned.Holds(thing) {
			t.Fatalf("%s holds as its opposite does", source)
		}
	})
}

// FuzzExpression feeds every parser with any text: none may panic or change the item, and what parses evaluates.
func FuzzExpression(f *testing.F) {
	for _, seed := range []string{
		"", "a", "((a))", "a = :s AND NOT (b < :n OR l[0].m BETWEEN :n AND :two)", "attribute_exists(a)", "a IN (:s, b)",
		"SET a = if_not_exists(a, :n) + :n, l[1] = list_append(l, :list) REMOVE m.qty ADD s :set",
		"m.deep.er, l[0], #n", "pk = :s AND begins_with(sk, :s)", "a[99999999999999999999] = :s", "\x00é#:", "SET", "a = :s OR",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, source string) {
		before := thing.Clone()
		if c, err := expression.ParseCondition(expression.ConditionExpression, source, env(t)); err == nil {
			c.Holds(thing)
			c.Holds(nil)
		}
		if k, err := expression.ParseKeyCondition(source, env(t)); err == nil {
			if c, err := k.Bind(item.Schema{Hash: item.Attribute{Name: "pk", Kind: item.S}, Range: item.Attribute{Name: "sk", Kind: item.S}}); err == nil {
				c.Accepts(item.String("x"))
			}
		}
		if u, err := expression.ParseUpdate(source, env(t)); err == nil {
			if after, err := u.Apply(thing); err == nil {
				u.Touched(after)
			}
		}
		if diff := cmp.Diff(before, thing); diff != "" {
			t.Error("evaluating changed the item: " + diff)
		}
	})
}
