package issue

import (
	"fmt"

	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
)

// bounds says within which bounds an agent needs a place: that of its token, and that of its AWS role where the token allows
// a role fewer than all. A place is held for as long as a certificate may live, whatever the agent's own does: short
// certificates would make places of a day into places of a second. Proxies need none. They claim no name, each is a task that
// ECS started, and a fleet that starts again and again for a day would keep itself out.
func (a *arrival) bounds() []Bound {
	if a.kind() == identity.KindProxy {
		return nil
	}
	spec := a.token.Spec
	all := Bound{a.token.Metadata.Name + "#" + a.token.UID, spec.MostNodes()}
	if most := spec.MostPerIdentity(); a.caller.RoleID != "" && most < all.Most {
		return []Bound{all, {all.Of + "#" + a.caller.RoleID, most}}
	}
	return []Bound{all}
}

// full refuses an agent for which there is no place.
func (a *arrival) full(b Bound) error {
	spec := a.token.Spec
	if b != a.bounds()[0] {
		return fault.Newf(fault.Denied, "remove nodes that are gone with stile rm node/NAME, or ask an administrator to raise the token's max_nodes_per_identity",
			"join token %s allows %s of one AWS role at once, and the role %s has no place left", a.token.Metadata.Name, agents(spec.MostPerIdentity()), a.caller.Role)
	}
	if !spec.Changes() {
		return fault.Newf(fault.Denied, "remove nodes that are gone with stile rm node/NAME, which frees a place and the name, or ask an administrator to create another token (stile rm token/"+a.token.Metadata.Name+" would take down the agents of this one)",
			"join token %s allows %s at once, and no place is left", a.token.Metadata.Name, agents(b.Most))
	}
	return fault.Newf(fault.Denied, "remove nodes that are gone with stile rm node/NAME, or ask an administrator to raise the token's max_nodes",
		"join token %s allows %s at once, and no place is left", a.token.Metadata.Name, agents(b.Most))
}

func agents(n int) string {
	if n == 1 {
		return "1 agent"
	}
	return fmt.Sprintf("%d agents", n)
}
