package identity

// Ref is something that a lock or a revocation can name.
type Ref struct {
	Target string // user | uid | mapping | role | login | agent | resource | device | certificate | request | session
	Value  string
}

// Refs lists what a lock on this user can name: the name, the uid, the mapping, each role, the certificate, each request, the device.
func (u User) Refs() []Ref {
	refs := []Ref{{"user", u.Name}, {"uid", u.UID}, {"certificate", u.Certificate}}
	if u.Mapping != "" {
		refs = append(refs, Ref{"mapping", u.Mapping})
	}
	for _, r := range u.Roles {
		refs = append(refs, Ref{"role", r})
	}
	for _, r := range u.Requests {
		refs = append(refs, Ref{"request", r})
	}
	if u.Device != "" {
		refs = append(refs, Ref{"device", u.Device})
	}
	return refs
}

// Refs lists what a lock on this host can name: its id, its certificate, each name as a resource.
func (h Host) Refs() []Ref {
	refs := []Ref{{"agent", h.ID}, {"certificate", h.Certificate}}
	for _, n := range h.Names {
		refs = append(refs, Ref{"resource", "node/" + n})
	}
	return refs
}

// IssuedWith gives the documents' versions at issue.
func (u User) IssuedWith() Versions { return u.Versions }

// IssuedWith gives the documents' versions at issue.
func (h Host) IssuedWith() Versions { return h.Versions }
