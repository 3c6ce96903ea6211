package iam

// Kind says what a principal is, which decides whose policies bind it.
type Kind int

// The kinds of principal that a call can have.
const (
	User        Kind = iota + 1 // an IAM user with a long-term access key
	AssumedRole                 // a session of a role
	Service                     // an AWS service that calls on its own behalf, such as lambda.amazonaws.com
)

// Principal is who makes a call, as GetCallerIdentity would describe it.
type Principal struct {
	Kind        Kind
	Partition   string            // aws, aws-cn, aws-us-gov
	Account     string            // twelve digits; "" for a service
	ARN         string            // arn:aws:sts::<account>:assumed-role/<name>/<session> or arn:aws:iam::<account>:user/<path><name>; "" for a service
	UserID      string            // AROA…:<session> or AIDA…
	RoleARN     string            // the role with its path; "" unless AssumedRole
	RoleName    string            // "" unless AssumedRole
	Session     string            // the session's name; "" unless AssumedRole
	Tags        map[string]string // the user's or role's tags, keys as written
	Service     string            // the service principal; "" unless Service
	AccessKeyID string            // the key that signed the call, if one did
	Policies    []*Policy         // session policies; they only ever narrow

	user string // the user's name; "" unless User
}

// ServicePrincipal is the AWS service with that name, such as apigateway.amazonaws.com, calling on its own behalf.
func ServicePrincipal(name string) *Principal {
	return &Principal{Kind: Service, Service: name}
}

// rootARN stands for the whole account in policies.
func (p *Principal) rootARN() string {
	return "arn:" + p.Partition + ":iam::" + p.Account + ":root"
}

// String is the ARN, the service's name, or "anonymous".
func (p *Principal) String() string {
	switch {
	case p == nil:
		return "anonymous"
	case p.Kind == Service:
		return p.Service
	default:
		return p.ARN
	}
}
