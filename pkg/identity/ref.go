package identity

// Ref is something that a lock or a revocation can name.
type Ref struct {
	Target string // user | uid | mapping | record | records | role | login | agent | token | target | certificate | request | session | everybody
	Value  string
}

// Populations: everybody is either a user or an agent.
const (
	Users  = "users"
	Agents = "agents"
)

// RefEverybody is the target of a Ref that names a whole population.
const RefEverybody = "everybody"

// Everybody names a population.
func Everybody(population string) Ref { return Ref{RefEverybody, population} }

// Record names what a user's record adds to those of the name whom a mapping admits, and to nobody else.
func Record(mapping, user string) Ref { return Ref{"record", mapping + "/" + user} }

// Records names what all records of a scope add.
func Records(scope string) Ref { return Ref{"records", scope} }

// Refs lists what a lock on this user can name: the name, the uid, the mapping, each of its own roles, the certificate. What
// names a grant's request or roles ends that grant alone, see [Grant.Refs].
func (u User) Refs() []Ref {
	refs := []Ref{{"user", u.Name}, {"uid", u.UID}, {"certificate", u.Certificate}, Everybody(Users)}
	if u.Mapping != "" {
		refs = append(refs, Ref{"mapping", u.Mapping})
	}
	if u.Record != "" {
		refs = append(refs, Record(u.Mapping, u.Name), Records(u.Record))
	}
	for _, r := range u.Roles {
		refs = append(refs, Ref{"role", r})
	}
	return refs
}

// Refs lists what a lock on this grant can name: the request and each role.
func (g Grant) Refs() []Ref {
	refs := []Ref{{"request", g.Request}}
	for _, r := range g.Roles {
		refs = append(refs, Ref{"role", r})
	}
	return refs
}

// Refs lists what a lock on this host can name: its id, its certificate, its token. A lock on a target stops the sessions
// on it, not the agent, which may serve others as well.
func (h Host) Refs() []Ref {
	refs := []Ref{{"agent", h.ID}, {"certificate", h.Certificate}, {"token", h.Token}}
	if h.Kind != KindProxy {
		refs = append(refs, Everybody(Agents))
	}
	return refs
}

// Population is the list of revocations that a user is judged by.
func (User) Population() string { return Users }

// Population is the list of revocations that a host is judged by.
func (Host) Population() string { return Agents }

// Again says how a user gets another certificate, whatever ended the one before.
func (User) Again(Ref) string { return "log in again with: stile login --iam" }

// Again says how a host gets another certificate when by ended its own; the zero Ref is for what isn't known to have freed
// its names. An agent that was removed holds none any more, and any other's are its own until it is. A secret has its uses,
// and none is left of a token that was deleted.
func (h Host) Again(by Ref) string {
	const join = "empty the agent's state directory and start it again"
	switch removed := by.Target == "agent"; {
	case h.Kind == KindProxy:
		return "start the proxy again without its old credential"
	case removed && h.Method == methodIAM:
		return join + ": it then joins as a new agent, if its token still admits it"
	case removed:
		return "ask an administrator for another token (stile create) unless the secret has uses left, set token and secret_file, then " + join
	case h.Method != methodIAM:
		return "ask an administrator for another token (stile create)" + h.free(" and to run ") + ", set token and secret_file, then " + join
	case by.Target == "token":
		return "ask an administrator to create the token again if it is gone" + h.free(", and to run ") + ", then " + join
	}
	return "ask an administrator to remove the agent" + h.free(" with ") + ", then " + join
}

// methodIAM is the [Host.Method] of those that join without a secret.
const methodIAM = "iam"

// free is the command that frees all names of an agent.
func (h Host) free(before string) string {
	if len(h.Targets) == 0 {
		return ""
	}
	return before + "stile rm " + h.Targets[0].String()
}

// Refs lists what a lock on this target can name.
func (t Target) Refs() []Ref { return []Ref{{"target", t.String()}} }

// IssuedWith returns the documents' versions at issue.
func (u User) IssuedWith() Versions { return u.Versions }

// IssuedWith returns the documents' versions at issue.
func (h Host) IssuedWith() Versions { return h.Versions }
