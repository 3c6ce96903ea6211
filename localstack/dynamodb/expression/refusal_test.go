package expression_test

import (
	"testing"

	"github.com/stile-dev/stile/localstack/dynamodb/expression"
	"github.com/stile-dev/stile/localstack/dynamodb/item"
)

var placeholders = expression.Bindings{
	Names: map[string]string{"#n": "name"},
	Values: map[string]item.Value{
		":s": item.String("a"), ":n": item.Number("1"), ":two": item.Number("2"), ":bool": {Kind: item.BOOL, Bool: true},
		":list": {Kind: item.L, List: []item.Value{item.String("l")}}, ":set": item.NewSet(item.SS, []string{"q", "p"}),
		":type": item.String("S"),
	},
}

func env(t testing.TB) *expression.Env {
	t.Helper()
	e, err := expression.NewEnv(placeholders, true, "")
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// The sentences are AWS's own, as its local DynamoDB answers them.
func TestConditionsAreRefusedInTheWordsOfAWS(t *testing.T) {
	for source, want := range map[string]string{
		"":                          "The expression can not be empty;",
		"   ":                       `Syntax error; token: "<EOF>", near: "   "`,
		"a":                         `Syntax error; token: "<EOF>", near: "a"`,
		"a = ":                      `Syntax error; token: "<EOF>", near: "= "`,
		"a = b c":                   `Syntax error; token: "c", near: "b c"`,
		"(a = :s":                   `Syntax error; token: "<EOF>", near: ":s"`,
		"a == :s":                   `Syntax error; token: "=", near: "== :s"`,
		"a != :s":                   `Syntax error; token: "!", near: "a !="`,
		"a[-1] = :s":                `Syntax error; token: "-", near: "[-1"`,
		"a[b] = :s":                 `Syntax error; token: "b", near: "[b]"`,
		"1a = :s":                   `Syntax error; token: "1", near: "1a"`,
		"_a = :s":                   `Syntax error; token: "_", near: "_a"`,
		"# = :s":                    `Syntax error; token: "#", near: "# ="`,
		":s.a = :s":                 `Syntax error; token: ".", near: ":s.a"`,
		"and = :s":                  `Syntax error; token: "and", near: "and ="`,
		"((a = :s))":                "The expression has redundant parentheses;",
		"name = :s":                 "Attribute name is a reserved keyword; reserved keyword: name",
		"a.Status = :s":             "Attribute name is a reserved keyword; reserved keyword: Status",
		"#q = :s":                   "An expression attribute name used in the document path is not defined; attribute name: #q",
		"a = :q":                    "An expression attribute value used in expression is not defined; attribute value: :q",
		"foo(a)":                    "Invalid function name; function: foo",
		"size(a) = :n":              "Invalid function name; function: size",
		"a IN (:s)":                 `Syntax error; token: "IN", near: "a IN ("`,
		"a.b[1] = a.b[1]":           "The first operand must be distinct from the remaining operands for this operator or function; operator: =, first operand: [a, b, [1]]",
		"ATTRIBUTE_EXISTS(a)":       "Invalid function name; function: ATTRIBUTE_EXISTS",
		"attribute_exists(a) = :s":  "The function is not allowed to be used this way in an expression; function: attribute_exists",
		"attribute_exists(a, b)":    "Incorrect number of operands for operator or function; operator or function: attribute_exists, number of operands: 2",
		"attribute_exists(:s)":      "Operator or function requires a document path; operator or function: attribute_exists",
		"begins_with(a, :n)":        "Incorrect operand type for operator or function; operator or function: begins_with, operand type: N",
		"a < :bool":                 "Incorrect operand type for operator or function; operator or function: <, operand type: BOOL",
		"a = a":                     "The first operand must be distinct from the remaining operands for this operator or function; operator: =, first operand: [a]",
		"a BETWEEN :two AND :n":     "The BETWEEN operator requires upper bound to be greater than or equal to lower bound; lower bound operand: AttributeValue: {N:2}, upper bound operand: AttributeValue: {N:1}",
		"a BETWEEN :n AND :s":       "The BETWEEN operator requires same data type for lower and upper bounds; lower bound operand: AttributeValue: {N:1}, upper bound operand: AttributeValue: {S:a}",
		"a < :bool AND name = :s":   "Attribute name is a reserved keyword; reserved keyword: name",
		"if_not_exists(a, :s) = :s": "The function is not allowed in a condition expression; function: if_not_exists",
		"a = :s AND":                `Syntax error; token: "<EOF>", near: "AND"`,
		"(a) AND b = :s":            `Syntax error; token: "AND", near: ") AND b"`,
	} {
		t.Run(source, func(t *testing.T) {
			_, err := expression.ParseCondition(expression.ConditionExpression, source, env(t))
			if err == nil || err.Error() != "Invalid ConditionExpression: "+want {
				t.Errorf("got  %v\nwant Invalid ConditionExpression: %s", err, want)
			}
		})
	}
}

func TestUpdatesAreRefusedInTheWordsOfAWS(t *testing.T) {
	for source, want := range map[string]string{
		"SET":                           `Syntax error; token: "<EOF>", near: "SET"`,
		"FOO a":                         `Syntax error; token: "FOO", near: "FOO a"`,
		"SET a :s":                      `Syntax error; token: ":s", near: "a :s"`,
		"REMOVE a b":                    `Syntax error; token: "b", near: "a b"`,
		"ADD a b":                       `Syntax error; token: "b", near: "a b"`,
		"SET a = :n + :n + :n":          `Syntax error; token: "+", near: ":n + :n"`,
		"SET a = :s SET b = :s":         `The "SET" section can only be used once in an update expression;`,
		"SET name = :s":                 "Attribute name is a reserved keyword; reserved keyword: name",
		"SET a = :s, a = :s":            "Two document paths overlap with each other; must remove or rewrite one of these paths; path one: [a], path two: [a]",
		"SET a = :s REMOVE a.b":         "Two document paths overlap with each other; must remove or rewrite one of these paths; path one: [a], path two: [a, b]",
		"SET a.b = :s, a[0] = :s":       "Two document paths conflict with each other; must remove or rewrite one of these paths; path one: [a, b], path two: [a, [0]]",
		"SET a = :s + :s":               "Incorrect operand type for operator or function; operator or function: +, operand type: S",
		"SET a = list_append(a, :s)":    "Incorrect operand type for operator or function; operator or function: list_append, operand type: S",
		"SET a = list_append(:list)":    "Incorrect number of operands for operator or function; operator or function: list_append, number of operands: 1",
		"SET a = if_not_exists(:s, :s)": "Operator or function requires a document path; operator or function: if_not_exists",
		"SET a = if_not_exists(b, b)":   "The first operand must be distinct from the remaining operands for this operator or function; operator: if_not_exists, first operand: [b]",
		"SET a = size(a)":               "Invalid function name; function: size",
		"SET a = foo(a)":                "Invalid function name; function: foo",
		"ADD a :s":                      "Incorrect operand type for operator or function; operator: ADD, operand type: STRING, typeSet: ALLOWED_FOR_ADD_OPERAND",
		"SET a = ((:s))":                "The expression has redundant parentheses;",
	} {
		t.Run(source, func(t *testing.T) {
			_, err := expression.ParseUpdate(source, env(t))
			if err == nil || err.Error() != "Invalid UpdateExpression: "+want {
				t.Errorf("got  %v\nwant Invalid UpdateExpression: %s", err, want)
			}
		})
	}
}

func TestKeyConditionsAreRefusedInTheWordsOfAWS(t *testing.T) {
	schema := item.Schema{Hash: item.Attribute{Name: "pk", Kind: item.S}, Range: item.Attribute{Name: "sk", Kind: item.S}}
	for source, want := range map[string]string{
		"pk > :s":                            "Query key condition not supported",
		"begins_with(pk, :s)":                "Query key condition not supported",
		"sk = :s":                            "Query condition missed key schema element: pk",
		"pk = :s AND foo = :s":               "Query condition missed key schema element: sk",
		"pk = :s AND pk = :s":                "KeyConditionExpressions must only contain one condition per key",
		"pk = :s OR sk = :s":                 "Invalid operator used in KeyConditionExpression: OR",
		"pk = :s AND sk <> :s":               "Invalid operator used in KeyConditionExpression: <>",
		"NOT pk = :s":                        "Invalid operator used in KeyConditionExpression: NOT",
		"pk = :s AND contains(sk, :s)":       "Invalid KeyConditionExpression: Invalid function name; function: contains",
		"pk = :s AND sk = :n":                "One or more parameter values were invalid: Condition parameter type does not match schema type",
		"pk.a = :s":                          "Key attributes must be scalars; list random access '[]' and map lookup '.' are not allowed: Key: pk",
		"pk = :s AND sk BETWEEN :two AND :n": "Invalid KeyConditionExpression: The BETWEEN operator requires upper bound to be greater than or equal to lower bound; lower bound operand: AttributeValue: {N:2}, upper bound operand: AttributeValue: {N:1}",
	} {
		t.Run(source, func(t *testing.T) {
			k, err := expression.ParseKeyCondition(source, env(t))
			if err == nil {
				_, err = k.Bind(schema)
			}
			if err == nil || err.Error() != want {
				t.Errorf("got  %v\nwant %s", err, want)
			}
		})
	}
}

func TestPlaceholdersThatNothingUsesAreRefused(t *testing.T) {
	e := env(t)
	if _, err := expression.ParseCondition(expression.ConditionExpression, "#n = :s", e); err != nil {
		t.Fatal(err)
	}
	want := "Value provided in ExpressionAttributeValues unused in expressions: keys: {:bool, :list, :n, :set, :two, :type}"
	if err := e.Unused(); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
