package iam_test

import (
	"strings"
	"testing"

	"github.com/stile-dev/stile/localstack/iam"
)

func TestParseRefusesAndSaysWhere(t *testing.T) {
	cases := map[string]struct {
		shape iam.Shape
		doc   string
		want  string
	}{
		"an unknown element":             {iam.IdentityShape, `{"Statement":[],"Comment":"x"}`, `unknown element "Comment"`},
		"an unknown statement element":   {iam.IdentityShape, `{"Statement":{"Effect":"Allow","Action":"a:B","Resource":"*","Conditions":{}}}`, `Statement[0]: unknown element "Conditions"`},
		"a repeated key":                 {iam.IdentityShape, `{"Statement":{"Effect":"Deny","Effect":"Allow","Action":"a:B","Resource":"*"}}`, `key "Effect" appears twice`},
		"another effect":                 {iam.IdentityShape, `{"Statement":{"Effect":"allow","Action":"a:B","Resource":"*"}}`, `Statement[0].Effect`},
		"an unknown operator":            {iam.IdentityShape, `{"Statement":[{"Effect":"Allow","Action":"a:B","Resource":"*"},{"Effect":"Allow","Action":"a:B","Resource":"*","Condition":{"StringMatches":{"aws:PrincipalTag/k":"v"}}}]}`, `Statement[1].Condition.StringMatches: unknown condition operator`},
		"an operator in another case":    {iam.IdentityShape, `{"Statement":{"Effect":"Allow","Action":"a:B","Resource":"*","Condition":{"stringequals":{"aws:PrincipalTag/k":"v"}}}}`, `unknown condition operator`},
		"a key that nobody supplies":     {iam.IdentityShape, `{"Statement":{"Effect":"Deny","Action":"a:B","Resource":"*","Condition":{"Null":{"aws:TokenIssueTime":"true"}}}}`, `does not supply the condition key aws:TokenIssueTime`},
		"a condition without values":     {iam.IdentityShape, `{"Statement":{"Effect":"Allow","Action":"a:B","Resource":"*","Condition":{"StringNotEquals":{"aws:PrincipalTag/k":[]}}}}`, `StringNotEquals.aws:PrincipalTag/k: is empty`},
		"an operator without keys":       {iam.IdentityShape, `{"Statement":{"Effect":"Allow","Action":"a:B","Resource":"*","Condition":{"StringEquals":{}}}}`, `Condition.StringEquals: is empty`},
		"Null with IfExists":             {iam.IdentityShape, `{"Statement":{"Effect":"Allow","Action":"a:B","Resource":"*","Condition":{"NullIfExists":{"aws:PrincipalTag/k":"true"}}}}`, `Null takes neither`},
		"a condition key twice":          {iam.IdentityShape, `{"Statement":{"Effect":"Allow","Action":"a:B","Resource":"*","Condition":{"Bool":{"aws:PrincipalTag/k":"true","AWS:PRINCIPALTAG/K":"false"}}}}`, `appears twice`},
		"a principal in an identity's":   {iam.IdentityShape, `{"Statement":{"Effect":"Allow","Principal":"*","Action":"a:B","Resource":"*"}}`, `has no principal`},
		"no principal in a resource's":   {iam.ResourceShape, `{"Statement":{"Effect":"Allow","Action":"a:B","Resource":"*"}}`, `Principal is missing`},
		"a resource in a trust policy":   {iam.TrustShape, `{"Statement":{"Effect":"Allow","Principal":"*","Action":"sts:AssumeRole","Resource":"*"}}`, `has no resource`},
		"a wildcard in a principal":      {iam.TrustShape, `{"Statement":{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:role/*"},"Action":"sts:AssumeRole"}}`, `doesn't name a principal`},
		"an unknown kind of principal":   {iam.TrustShape, `{"Statement":{"Effect":"Allow","Principal":{"Robot":"x"},"Action":"sts:AssumeRole"}}`, `"Robot" are not understood`},
		"an allow for all but some":      {iam.ResourceShape, `{"Statement":{"Effect":"Allow","NotPrincipal":{"AWS":"111122223333"},"Action":"a:B","Resource":"*"}}`, `only a Deny`},
		"both Action and NotAction":      {iam.IdentityShape, `{"Statement":{"Effect":"Allow","Action":"a:B","NotAction":"a:C","Resource":"*"}}`, `exclude each other`},
		"an action without its service":  {iam.IdentityShape, `{"Statement":{"Effect":"Allow","Action":"Sign","Resource":"*"}}`, `"Sign" is not an action`},
		"a resource that is not an ARN":  {iam.IdentityShape, `{"Statement":{"Effect":"Allow","Action":"a:B","Resource":"bucket"}}`, `neither * nor an ARN`},
		"no resource":                    {iam.IdentityShape, `{"Statement":{"Effect":"Allow","Action":"a:B"}}`, `Resource is missing`},
		"no statements":                  {iam.IdentityShape, `{"Statement":[]}`, `is empty`},
		"another version":                {iam.IdentityShape, `{"Version":"2020-01-01","Statement":{"Effect":"Allow","Action":"a:B","Resource":"*"}}`, `neither 2012-10-17 nor`},
		"an open variable":               {iam.IdentityShape, `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"a:B","Resource":"arn:aws:s3:::${aws:username"}}`, `without }`},
		"a sid twice":                    {iam.IdentityShape, `{"Statement":[{"Sid":"A","Effect":"Allow","Action":"a:B","Resource":"*"},{"Sid":"A","Effect":"Allow","Action":"a:B","Resource":"*"}]}`, `Statement[1].Sid`},
		"something after the document":   {iam.IdentityShape, `{"Statement":{"Effect":"Allow","Action":"a:B","Resource":"*"}} {}`, `follows`},
		"an array nested without bounds": {iam.IdentityShape, `{"Statement":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}`, `nested deeper`},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := iam.Parse("p", c.shape, []byte(c.doc))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want …%s…", err, c.want)
			}
		})
	}
}

// FuzzParse: no document panics, and none that is taken lacks an effect, an action or a principal where one
// must stand.
func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"Version":"2012-10-17","Statement":[{"Sid":"A","Effect":"Allow","Action":["a:B*"],"Resource":"arn:aws:s3:::${aws:username}/*","Condition":{"ForAllValues:StringLike":{"aws:PrincipalTag/k":["a","b"]},"Null":{"aws:PrincipalTag/k":"false"}}}]}`))
	f.Add([]byte(`{"Statement":{"Effect":"Deny","Principal":{"AWS":["111122223333","*"],"Service":"lambda.amazonaws.com"},"NotAction":"*","Resource":"*"}}`))
	f.Add([]byte(`{"Statement":{"Effect":"Allow","Principal":"*","Action":"sts:AssumeRole","Condition":{"ArnLike":{"aws:SourceArn":"arn:aws:s3:*:*:a"},"Bool":{"aws:SecureTransport":"false"}}}}`))
	f.Add([]byte(`{"Statement":[[[[`))
	f.Fuzz(func(t *testing.T, doc []byte) {
		for _, shape := range []iam.Shape{iam.IdentityShape, iam.ResourceShape, iam.TrustShape} {
			p, err := iam.Parse("fuzz", shape, doc)
			if err != nil {
				continue
			}
			if len(p.Statements) == 0 {
				t.Error("a policy without statements was taken")
			}
			for _, s := range p.Statements {
				if named := s.Principals() != nil; named != (shape != iam.IdentityShape) {
					t.Errorf("shape %d, principals %v", shape, s.Principals())
				}
			}
		}
	})
}
