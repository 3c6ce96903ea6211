package integration_test

import (
	"testing"
)

// Somebody who administers a scope tries, with the programs that everybody has, to become more.
func TestSec_S58_ADelegateGrantsNothingBeyondTheScope(t *testing.T) {
	boss := shared.person(t, admin).login(t)
	boss.create(t, `kind: role
metadata: {name: payments-admin, scope: /payments}
spec: {allow: {rules: [{resources: [role, user, iam_mapping, token], verbs: ['*']}]}}
---
kind: user
metadata: {name: alice}
spec: {mapping: engineers, roles: [payments-admin]}
`)
	t.Cleanup(func() {
		boss.run(t, nil, "rm", "user/alice")
		boss.run(t, nil, "rm", "role/payments-admin")
	})
	p := shared.person(t, engineer).login(t)
	before := shared.snapshot(t, p)
	for name, yaml := range map[string]string{
		"a role of everybody's administrators": "kind: user\nmetadata: {name: eve, scope: /payments}\nspec: {mapping: engineers, roles: [editor]}\n",
		"a mapping of a foreign account":       "kind: iam_mapping\nmetadata: {name: eve, scope: /payments}\nspec: {match: {account: '999999999999', role: Eve}, user: eve, roles: [editor]}\n",
		"a mapping beside the first one":       "kind: iam_mapping\nmetadata: {name: eve, scope: /payments}\nspec: {match: {account: '111122223333', role: AWSReservedSSO_Admin_0f1e2d3c4b5a6978}, user: eve}\n",
		"a trait that opens every node":        "kind: user\nmetadata: {name: bob, scope: /payments}\nspec: {mapping: engineers, traits: {logins: [postgres]}}\n",
		"a role with more rights":              "kind: role\nmetadata: {name: more, scope: /payments}\nspec: {allow: {rules: [{resources: [node], verbs: [delete]}]}}\n",
	} {
		t.Run(name, func(t *testing.T) {
			p.run(t, nil, "create", "-f", p.file(t, yaml)).refused(t, 4)
		})
	}
	p.run(t, nil, "create", "-f", p.file(t, "kind: token\nmetadata: {name: eve, scope: /payments}\nspec: {method: iam, allow: [{account: '999999999999', role: Eve}], resources: [node], names: ['*'], labels: {env: prod}}\n")).
		refused(t, 2, "only names that end with .payments")
	shared.unchanged(t, p, before)
}
