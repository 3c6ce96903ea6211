package iam

// Mode says how the policies on a resource weigh against those of the caller's identity.
type Mode int

// The modes of AWS's policy evaluation within one account.
const (
	// Ordinary: an allow on either side is enough (DynamoDB, S3, Lambda, EventBridge).
	Ordinary Mode = iota
	// KeyPolicy: the key policy must allow; a statement for the account lets identity policies decide.
	KeyPolicy
	// TrustPolicy: the role's trust policy must allow; a statement for the account lets identity policies decide.
	TrustPolicy
)

// Query is the question whether a principal may do one action on one resource.
type Query struct {
	Action           string              // kms:Sign
	Resource         string              // ARN, or "*" for actions without one
	Context          map[string][]string // condition keys with their values; names compare without case
	ResourcePolicies []*Policy           // policies on the resource; nil when it has none
	Mode             Mode
	ResourceAccount  string // the resource's owner; "" reads it from the ARN, else the authority's account
}

// Decision is the answer to a Query, with the reason.
type Decision struct {
	Allowed  bool
	Explicit bool   // a Deny statement decided
	Reason   string // which statement decided, or what is missing, as a sentence's end: "because no identity-based policy allows the kms:Sign action"
	Policy   string // the policy that decided, such as "role/Signer/DefaultPolicy"; "" when none did
	Sid      string // its statement's Sid, or "#<index>"

	identity *Statement // of the caller's own policies, that allowed it; nil when none was needed
}
