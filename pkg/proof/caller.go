package proof

import (
	"regexp"
	"strings"

	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/resource"
)

var (
	account   = regexp.MustCompile(`^[0-9]{12}$`)
	roleName  = regexp.MustCompile(`^[A-Za-z0-9_+=,.@-]{1,64}$`)
	session   = regexp.MustCompile(`^[A-Za-z0-9_+=,.@-]{2,64}$`)
	roleID    = regexp.MustCompile(`^AROA[A-Z0-9]{12,124}$`)
	partition = regexp.MustCompile(`^aws(-[a-z]{2,4}){0,2}$`)
)

// ParseCaller reads STS's three answers together, part by part; nothing is searched for in a string. Only
// assumed roles are callers: IAM users and roots have no role id to match, and federated users are whoever
// their maker says.
func ParseCaller(accountID, arn, userID string) (resource.IAMIdentity, error) {
	parts := strings.Split(arn, ":")
	if len(parts) != 6 || parts[0] != "arn" || parts[3] != "" {
		return resource.IAMIdentity{}, strange("the ARN doesn't have the form of an identity's")
	}
	if parts[2] != "sts" {
		return resource.IAMIdentity{}, notRole(arn)
	}
	path := strings.Split(parts[5], "/")
	if len(path) != 3 || path[0] != "assumed-role" {
		return resource.IAMIdentity{}, notRole(arn)
	}
	id, name, ok := strings.Cut(userID, ":")
	c := resource.IAMIdentity{Partition: parts[1], Account: parts[4], Role: path[1], RoleID: id, Session: path[2]}
	switch {
	case !ok || name != c.Session:
		return resource.IAMIdentity{}, strange("user id and ARN name different sessions")
	case accountID != c.Account || !account.MatchString(c.Account):
		return resource.IAMIdentity{}, strange("account and ARN name different accounts")
	case !partition.MatchString(c.Partition) || !roleName.MatchString(c.Role) || !roleID.MatchString(c.RoleID) || !session.MatchString(c.Session):
		return resource.IAMIdentity{}, strange("a part of the ARN or of the user id is malformed")
	}
	return c, nil
}

// Name writes a caller as it appears in certificates and events, without its session: <partition>:<account>:<role>:<role id>.
func Name(c resource.IAMIdentity) string {
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
