package stack

import (
	"strings"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awskms"
	"github.com/stile-dev/stile/pkg/names"
)

// key is one KMS key and the roles that may use it. Roles are in Control and keys in Data: a key policy can't
// name a principal that doesn't exist yet, so roles have fixed names and are matched by aws:PrincipalArn.
type key struct {
	purpose     string
	description string
	users       map[string][]string // KMS action → functions whose roles may call it
}

var keys = []key{
	{names.KeyRoot, "signs trust documents", map[string][]string{signAction: {fnRotate}}},
	{names.KeyPolicy, "signs policy and revocations documents", map[string][]string{signAction: {fnPublish}}},
	{names.KeyUserSSH, "signs the SSH certificates of people", map[string][]string{signAction: {fnSignUser}}},
	{names.KeyUserX509, "signs the X.509 certificates of people", map[string][]string{signAction: {fnSignUser}}},
	{names.KeyHostSSH, "signs the SSH host certificates of agents", map[string][]string{signAction: {fnSignHost}}},
	{names.KeyHostX509, "signs the X.509 certificates of agents and proxies", map[string][]string{signAction: {fnSignHost}}},
	{names.KeyChallenge, "derives the keys that authenticate login and join challenges", map[string][]string{
		"kms:GenerateMac": {fnLogin, fnJoin, fnSignUser, fnSignHost},
	}},
}

const signAction = "kms:Sign"

// keyManagement is what the account's administrators may do with a key: look at it, tag it, name it, switch it
// off and delete it after 30 days. Nothing here uses the key, hands out its use, or copies it elsewhere.
// PutKeyPolicy is the one way around, and CloudTrail records it; docs/threat-model.md says so.
var keyManagement = []string{
	"kms:CancelKeyDeletion", "kms:CreateAlias", "kms:DeleteAlias", "kms:DescribeKey", "kms:DisableKey", "kms:EnableKey",
	"kms:GetKeyPolicy", "kms:GetKeyRotationStatus", "kms:GetPublicKey", "kms:ListGrants", "kms:ListKeyPolicies",
	"kms:ListResourceTags", "kms:PutKeyPolicy", "kms:RevokeGrant", "kms:ScheduleKeyDeletion", "kms:TagResource",
	"kms:UntagResource", "kms:UpdateAlias", "kms:UpdateKeyDescription",
}

// keyEscape is what no one may do: each of these would let somebody else use the key, or a copy of it.
var keyEscape = []string{"kms:CreateGrant", "kms:ReplicateKey", "kms:UpdatePrimaryRegion", "kms:ImportKeyMaterial"}

// signing is the only form of kms:Sign that this system uses.
var signing = map[string]string{"kms:MessageType": "DIGEST", "kms:SigningAlgorithm": "ECDSA_SHA_256"}

// macing is the only algorithm of the challenge's key.
var macing = map[string]string{"kms:MacAlgorithm": "HMAC_SHA_256"}

func newKeys(s awscdk.Stack, set settings) {
	for _, k := range keys {
		spec, usage := "ECC_NIST_P256", "SIGN_VERIFY"
		if k.purpose == names.KeyChallenge {
			spec, usage = "HMAC_256", "GENERATE_VERIFY_MAC"
		}
		made := awskms.NewCfnKey(s, new(set.keyID(k.purpose)), &awskms.CfnKeyProps{
			Description: new("Stile " + k.purpose + ": " + k.description),
			KeySpec:     &spec, KeyUsage: &usage,
			MultiRegion: new(false), PendingWindowInDays: new(30.0),
			KeyPolicy: document(k.policy()...),
		})
		keep(made)
		awskms.NewCfnAlias(s, new("Alias"+camel(k.purpose)), &awskms.CfnAliasProps{AliasName: new("alias/stile/" + k.purpose), TargetKeyId: made.Ref()})
		export(s, keyOutput(k.purpose)+"Arn", made.AttrArn())
	}
}

// policy lets IAM policies of the account work for management, lets them work for each use of the key by
// the named roles alone, and denies that use to everyone else whatever their IAM policies say.
func (k key) policy() []statement {
	out := []statement{{Sid: "Manage", Effect: "Allow", Principal: account, Actions: keyManagement, Resources: []any{"*"}}}
	out = append(out, statement{Sid: "NobodyHandsItOn", Effect: "Deny", Principal: everyone, Actions: keyEscape, Resources: []any{"*"}})
	for _, action := range sorted(k.users) {
		var roles []any
		for _, function := range k.users[action] {
			roles = append(roles, roleARN(function))
		}
		verb := strings.TrimPrefix(action, "kms:")
		form := signing
		if action != signAction {
			form = macing
		}
		out = append(out,
			statement{
				Sid: verb, Effect: "Allow", Principal: account, Actions: []string{action}, Resources: []any{"*"},
				Condition: condition{"ArnEquals": {"aws:PrincipalArn": roles}, "StringEquals": anyMap(form)},
			},
			statement{
				Sid: "NobodyElse" + verb, Effect: "Deny", Principal: everyone, Actions: []string{action}, Resources: []any{"*"},
				Condition: condition{"ArnNotEquals": {"aws:PrincipalArn": roles}},
			})
		for _, name := range sorted(form) {
			out = append(out, statement{
				Sid: "No" + verb + "Without" + camel(strings.TrimPrefix(name, "kms:")), Effect: "Deny", Principal: everyone,
				Actions: []string{action}, Resources: []any{"*"}, Condition: condition{"StringNotEquals": {name: form[name]}},
			})
		}
	}
	return out
}

// keyOutput is what the outputs about a key's purpose begin with.
func keyOutput(purpose string) string { return "Key" + camel(purpose) }

// keyARN is the ARN of a key, in Control.
func keyARN(purpose string) *string { return imported(Data, keyOutput(purpose)+"Arn") }

// deriveChallengeKeys grants what both sides of a challenge need: to derive its key, which makes and verifies alike.
func deriveChallengeKeys() statement {
	return keyUse("DeriveChallengeKeys", "kms:GenerateMac", macing, names.KeyChallenge)
}
