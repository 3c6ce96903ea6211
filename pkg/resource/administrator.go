package resource

import (
	"strings"

	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/strict"
)

// maxMatch bounds the JSON of an AWS identity: CloudFormation's parameters have at most 4,096 bytes.
const maxMatch = 4096

// ParseMatch reads an AWS identity as strictly as a resource that holds one. A refusal is a [fault.BadInput].
func ParseMatch(raw string) (IAMMatch, error) {
	var m IAMMatch
	if err := strict.JSON([]byte(raw), maxMatch, &m); err != nil {
		return IAMMatch{}, err
	}
	if err := m.Validate(); err != nil {
		return IAMMatch{}, err
	}
	return m, nil
}

// reserved begins the names of the roles that only IAM Identity Center makes.
const reserved = "AWSReservedSSO_"

// ParseAdministrator reads who is a deployment's first administrator, and refuses whoever would be nobody, or many. The
// deployment and all functions that the parameter reaches read it by this. A refusal is a [fault.BadInput].
func ParseAdministrator(raw string) (IAMMatch, error) {
	m, err := ParseMatch(raw)
	switch {
	case err == nil && strings.HasPrefix(m.Role, reserved) && !IsSSO(m.Role):
		err = strict.Refuse([]fault.Field{{Path: "match.role", Reason: "a role of IAM Identity Center is named in full: AWSReservedSSO_<set>_<16 hex digits>"}})
	case err == nil && IsSSO(m.Role) && m.Session == "":
		err = strict.Refuse([]fault.Field{{Path: "match.session", Reason: "every user with the permission set has this role; write the session, which is the person's name in IAM Identity Center"}})
	}
	if err != nil {
		f := fault.From(err)
		wrong := fault.New(fault.BadInput, "the parameter BootstrapAdmin names no administrator: "+strings.TrimPrefix(f.Message, "match."),
			`correct BootstrapAdmin, such as {"account":"111122223333","role":"PlatformAdmin"}, and deploy StileControl again`)
		for _, field := range f.Fields {
			wrong.Fields = append(wrong.Fields, fault.Field{Path: strings.TrimPrefix(field.Path, "match."), Reason: field.Reason})
		}
		return IAMMatch{}, wrong
	}
	return m, nil
}

// Remade reports whether an identity has the role that is meant but for the suffix, which AWS changes when somebody assigns
// the permission set again: the same set in the same account, and the same session where one is asked for.
func (m IAMMatch) Remade(who IAMIdentity) bool {
	if !IsSSO(m.Role) || !IsSSO(who.Role) || m.Role == who.Role || set(m.Role) != set(who.Role) {
		return false
	}
	m.Role, m.RoleID = who.Role, ""
	return m.Matches(who)
}

// set is the role's name without the suffix: AWSReservedSSO_<set>.
func set(role string) string { return role[:strings.LastIndexByte(role, '_')] }
