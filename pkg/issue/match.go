package issue

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/stile-dev/stile/pkg/access"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
)

// person is whom a mapping makes of an AWS identity.
type person struct {
	mapping string
	name    string
	uid     string
	roles   []string
	traits  map[string][]string
}

// mapped finds the one mapping that lets the caller in. Two that match are refused, naming both: which of them
// was meant is not for the signer to guess.
func mapped(mappings []access.Mapping, c access.IAMIdentity) (access.Mapping, error) {
	var found []access.Mapping
	for _, m := range mappings {
		if m.Spec.Match.Matches(c) {
			found = append(found, m)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return access.Mapping{}, fault.Newf(fault.Denied, "ask an administrator for an iam_mapping of this role",
			"no iam_mapping lets the role %s of account %s in", c.Role, c.Account)
	}
	var both []string
	for _, m := range found {
		both = append(both, m.Metadata.Name)
	}
	return access.Mapping{}, fault.Newf(fault.Denied, "an administrator narrows one of them by role_id or session, or removes it",
		"more than one iam_mapping matches this identity: %s", strings.Join(both, ", "))
}

// named makes the person. Without a user's name in the mapping the session's is taken, where it proves something.
func named(cluster string, m access.Mapping, c access.IAMIdentity) (person, error) {
	p := person{mapping: m.Metadata.Name, name: m.Spec.User, roles: m.Spec.Roles, traits: m.Spec.Traits}
	own := m.Spec.User
	if p.name == "" {
		if !access.IsSSO(c.Role) || m.Spec.Match.Role != c.Role {
			return person{}, fault.Newf(fault.Denied, "an administrator sets spec.user in it",
				"iam_mapping %s names no user, and the session name of %s proves nothing", m.Metadata.Name, c.Role)
		}
		p.name, own = c.Session, c.Session
	}
	if !identity.ValidUserName(p.name) {
		return person{}, fault.Newf(fault.Denied, "an administrator sets spec.user in a mapping for this person", "%.64q cannot be a user's name", p.name)
	}
	p.uid = uid(cluster, m.Metadata.Name, c, own)
	return p, nil
}

// uid stays while mapping, account, role and the person do, and is somebody else's never: each part is
// preceded by its length.
func uid(cluster, mapping string, c access.IAMIdentity, own string) string {
	h := sha256.New()
	for _, part := range []string{"stile-uid-v1", cluster, mapping, c.Partition, c.Account, c.RoleID, own} {
		h.Write(fmt.Appendf(nil, "%d:%s", len(part), part))
	}
	return "usr_" + hex.EncodeToString(h.Sum(nil)[:16])
}
