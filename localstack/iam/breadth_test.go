package iam

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Folders with policies: what a test there asks for counts too.
const (
	byTemplates = "infra/templates"
	bySuite     = "localstack/conformance"
	byCases     = "localstack/iam/testdata" // what AWS documents of the operators, and of who somebody is
)

// asked is every condition key and operator that policies may have, with one who uses it.
var asked = map[string]string{
	"aws:principalarn": byTemplates, "aws:principaltag/": byCases,
	"aws:resourceaccount": byTemplates, "aws:securetransport": byTemplates, "aws:sourceaccount": byTemplates, "aws:sourcearn": byTemplates,
	"aws:username": byCases, "dynamodb:leadingkeys": byTemplates, "kms:macalgorithm": byTemplates,
	"kms:messagetype": byTemplates, "kms:requestalias": bySuite, "kms:resourcealiases": bySuite,
	"kms:signingalgorithm": byTemplates, "s3:if-none-match": byTemplates, "s3:objectcreationoperation": byTemplates, "sts:externalid": byCases,

	"ArnEquals": byTemplates, "ArnLike": byTemplates, "ArnNotEquals": byTemplates, "ArnNotLike": byCases,
	"Bool": byTemplates, "Null": byTemplates, "StringEquals": byTemplates, "StringLike": byTemplates,
	"StringNotEquals": byTemplates, "StringNotLike": byCases,
}

// The keys and operators are those that policies use, as ../breadth_test.go has it of what services answer.
func TestConditionKeysAndOperatorsAreThoseThatPoliciesUse(t *testing.T) {
	known := slices.Concat(sorted(keys), tagged, sorted(operators))
	for _, one := range known {
		if _, ok := asked[one]; !ok {
			t.Errorf("localstack/iam knows %s, which is not in this test's list: if a policy uses it, say which; else delete it", one)
		}
	}
	for one, by := range asked {
		if !slices.Contains(known, one) {
			t.Errorf("localstack/iam does not know %s any more: delete it from this test's list", one)
		}
		if !uses(t, by, written(one)) {
			t.Errorf("localstack/iam knows %s for %s, but nothing there uses it: name another user, or delete it", one, by)
		}
	}
}

func sorted[V any](m map[string]V) (names []string) {
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// written is how a policy writes a key or an operator.
func written(one string) *regexp.Regexp {
	switch {
	case !strings.Contains(one, ":"):
		return regexp.MustCompile(`"(ForAllValues:|ForAnyValue:)?` + one + `(IfExists)?"`)
	case strings.HasSuffix(one, "/"):
		return regexp.MustCompile(`(?i)("|\$\{)` + regexp.QuoteMeta(one))
	}
	return regexp.MustCompile(`(?i)("|\$\{)` + regexp.QuoteMeta(one) + `\b`)
}

// uses reports whether a Go file or a JSON document of the folder has a match.
func uses(t *testing.T, folder string, form *regexp.Regexp) (found bool) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join("..", "..", folder), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || found || filepath.Ext(path) != ".go" && filepath.Ext(path) != ".json" {
			return err
		}
		text, err := os.ReadFile(path)
		found = form.Match(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
