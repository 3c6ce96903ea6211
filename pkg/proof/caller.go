package proof

import (
	"regexp"
	"strings"

	"github.com/stile-dev/stile/pkg/fault"
)

// Caller is an AWS identity as STS states it. Only assumed roles are callers: IAM users and roots have no
// role id to match and federated users are whoever their maker says.
type Caller struct {
	Partition string // aws, aws-cn, aws-us-gov
	Account   string // 12 digits
	Role      string // role name without path
	RoleID    string // AROA…, never given twice
	Session   string // chosen by whoever assumed the role; proves nothing, but see [Caller.SSO]
}

var (
	account   = regexp.MustCompile(`^[0-9]{12}$`)
	roleName  = regexp.MustCompile(`^[A-Za-z0-9_+=,.@-]{1,64}$`)
	session   = regexp.MustCompile(`^[A-Za-z0-9_+=,.@-]{2,64}$`)
	roleID    = regexp.MustCompile(`^AROA[A-Z0-9]{12,124}$`)
	ssoRole   = regexp.MustCompile(`^AWSReservedSSO_[A-Za-z0-9_+=,.@-]{1,32}_[0-9a-f]{16}$`)
	partition = regexp.MustCompile(`^aws(-[a-z]{2,4}){0,2}$`)
)

// ParseCaller reads STS's three answers together, part by part; nothing is searched for in a string.
func ParseCaller(accountID, arn, userID string) (Caller, error) {
	parts := strings.Split(arn, ":")
	if len(parts) != 6 || parts[0] != "arn" || parts[3] != "" {
		return Caller{}, strange("the ARN has not the form of an identity's")
	}
	if parts[2] != "sts" {
		return Caller{}, notRole(arn)
	}
	resource := strings.Split(parts[5], "/")
	if len(resource) != 3 || resource[0] != "assumed-role" {
		return Caller{}, notRole(arn)
	}
	id, name, ok := strings.Cut(userID, ":")
	c := Caller{Partition: parts[1], Account: parts[4], Role: resource[1], RoleID: id, Session: resource[2]}
	switch {
	case !ok || name != c.Session:
		return Caller{}, strange("user id and ARN name different sessions")
	case accountID != c.Account || !account.MatchString(c.Account):
		return Caller{}, strange("account and ARN name different accounts")
	case !partition.MatchString(c.Partition) || !roleName.MatchString(c.Role) || !roleID.MatchString(c.RoleID) || !session.MatchString(c.Session):
		return Caller{}, strange("a part of the ARN or of the user id is malformed")
	}
	return c, nil
}

// SSO reports whether the role is one that IAM Identity Center alone assumes, and whose session name is
// therefore the user's name. Any other session name is chosen by whoever assumes the role.
func (c Caller) SSO() bool { return SSORole(c.Role) }

// SSORole reports whether a role name is an IAM Identity Center one in full: AWSReservedSSO_<set>_<16 hex>.
// Nobody but AWS can make a role of such a name.
func SSORole(name string) bool { return ssoRole.MatchString(name) }

// String writes the caller for people and events, without its session: <partition>:<account>:<role>:<role id>.
func (c Caller) String() string {
	return strings.Join([]string{c.Partition, c.Account, c.Role, c.RoleID}, ":")
}

func strange(why string) *fault.Fault {
	return fault.New(fault.Unauthenticated, "AWS's answer about this identity is not usable: "+why, "log in to AWS again, as a role, and try again")
}

func notRole(arn string) *fault.Fault {
	kind := "this kind of identity"
	switch parts := strings.SplitN(arn, ":", 6); {
	case len(parts) == 6 && parts[2] == "iam" && strings.HasPrefix(parts[5], "user/"):
		kind = "an IAM user"
	case len(parts) == 6 && parts[2] == "iam" && parts[5] == "root":
		kind = "an account's root"
	case len(parts) == 6 && parts[2] == "sts" && strings.HasPrefix(parts[5], "federated-user/"):
		kind = "a federated user"
	}
	return fault.New(fault.Denied, "only a role's session is accepted, not "+kind, "assume a role (AWS_PROFILE, aws sso login) and try again")
}
