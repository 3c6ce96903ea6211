package identity

import (
	"crypto"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"

	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/strict"
)

// Authority is what may vouch for identities of one cluster: the plain public keys of its certificate
// authorities for one purpose.
type Authority struct {
	Cluster string
	Keys    []crypto.PublicKey
}

// Marshal writes the identity as JSON. One that is invalid or larger than [MaxSize] is refused with a fault;
// for size it names the largest trait.
func (u User) Marshal() ([]byte, error) {
	u.Form = Form{V: formVersion, Critical: u.limits()}
	if err := u.Validate(); err != nil {
		return nil, err
	}
	b, err := json.Marshal(u)
	if err != nil {
		return nil, fmt.Errorf("writing the identity of user %q: %w", u.Name, err)
	}
	if len(b) > MaxSize {
		return nil, fault.Newf(fault.TooLarge, "shorten it, or remove traits and roles that the user or mapping doesn't need",
			"the identity of %s takes %d bytes, but %d are allowed; the largest part is %s", u.Name, len(b), MaxSize, u.largest())
	}
	return b, nil
}

// largest names the trait, or else the list, that takes the most bytes.
func (u User) largest() string {
	name, most := "roles", size(u.Roles)
	if b, err := json.Marshal(u.Grants); err == nil && len(b) > most {
		name, most = "grants", len(b)
	}
	for k, v := range u.Traits {
		if n := len(k) + size(v); n > most || n == most && k < name {
			name, most = "trait "+k, n
		}
	}
	return fmt.Sprintf("%s with %d bytes", name, most)
}

func size(values []string) int {
	n := 0
	for _, v := range values {
		n += len(v) + len(`"",`)
	}
	return n
}

// limits lists the fields that are set and limit what the certificate is good for: the critical ones. What only adds, such as
// a grant, may be ignored.
func (u User) limits() []string {
	if u.SourceAddress == "" {
		return nil
	}
	return []string{"source_address"}
}

// ParseUser reads what Marshal wrote, in this release or a later one.
func ParseUser(b []byte) (User, error) {
	var u User
	if err := strict.LaterJSON(b, MaxSize, &u); err != nil {
		return User{}, fmt.Errorf("reading a user's identity: %w", err)
	}
	if err := u.readable(User{}); err != nil {
		return User{}, err
	}
	return u, u.Validate()
}

// readable refuses what is written in another form, or has something critical that is not known here.
func (f Form) readable(as any) error {
	if f.V != formVersion {
		return malformed("v", fmt.Sprint(f.V))
	}
	for _, path := range f.Critical {
		if !strict.Knows(as, path) {
			return fault.Newf(fault.Unauthenticated, "update this program: the certificate was issued by a newer release",
				"the certificate is limited by %.64q, which is not known here", path)
		}
	}
	return nil
}

// Marshal writes the identity as JSON; see [User.Marshal].
func (h Host) Marshal() ([]byte, error) {
	h.Form = Form{V: formVersion}
	if err := h.Validate(); err != nil {
		return nil, err
	}
	b, err := json.Marshal(h)
	if err != nil {
		return nil, fmt.Errorf("writing the identity of host %q: %w", h.ID, err)
	}
	if len(b) > MaxSize {
		return nil, fault.Newf(fault.TooLarge, "give the agent fewer names or labels",
			"the identity of %s takes %d bytes, but %d are allowed", h.ID, len(b), MaxSize)
	}
	return b, nil
}

// ParseHost reads what Marshal wrote, in this release or a later one.
func ParseHost(b []byte) (Host, error) {
	var h Host
	if err := strict.LaterJSON(b, MaxSize, &h); err != nil {
		return Host{}, fmt.Errorf("reading a host's identity: %w", err)
	}
	if err := h.readable(Host{}); err != nil {
		return Host{}, err
	}
	return h, h.Validate()
}

// URI names the user in an X.509 certificate: spiffe://<cluster>/user/<name>.
func (u User) URI() string { return "spiffe://" + u.Cluster + "/user/" + u.Name }

// URI names the host in an X.509 certificate: spiffe://<cluster>/agent/<id> or …/proxy/<id>.
func (h Host) URI() string { return "spiffe://" + h.Cluster + "/" + h.Kind + "/" + h.ID }

var (
	userName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.@+=-]{0,63}$`)
	login    = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.+$-]{0,63}$`)
	cluster  = regexp.MustCompile(`^[0-9a-z-]{1,63}$`)
	idShape  = regexp.MustCompile(`^[a-z]{3}_[0-9a-hjkmnp-tv-z]{26}$`)
	uidShape = regexp.MustCompile(`^usr_[0-9a-z]{1,64}$`)
)

// ValidUserName reports whether a user may have this name: 1–64 of letters, digits and _ . @ + = -,
// the first a letter or digit. It is what an STS session name may hold, without the comma.
func ValidUserName(name string) bool { return userName.MatchString(name) }

// ValidLogin reports whether a string may be a principal in an SSH certificate: 1–64 of ASCII letters, digits
// and _ . + $ -, the first no dot, sign or hyphen. So commas (CVE-2026-35414), whitespace, control characters,
// wildcards and @ never occur in one.
func ValidLogin(s string) bool { return login.MatchString(s) }

// Validate refuses an identity in which something is missing or malformed.
func (u User) Validate() error {
	switch {
	case !cluster.MatchString(u.Cluster):
		return malformed("cluster", u.Cluster)
	case !ValidID("crt", u.Certificate):
		return malformed("certificate", u.Certificate)
	case !ValidUserName(u.Name):
		return malformed("name", u.Name)
	case !uidShape.MatchString(u.UID):
		return malformed("uid", u.UID)
	case u.IssuedAt.IsZero():
		return malformed("issued_at", "")
	}
	return u.validateGrants()
}

func (u User) validateGrants() error {
	resources := 0
	for _, g := range u.Grants {
		resources += len(g.Resources)
		if !ValidID("req", g.Request) || len(g.Roles) == 0 || g.Until.IsZero() {
			return malformed("grants", g.Request)
		}
		for _, t := range g.Resources {
			if !ValidTargetKind(t.Kind) || !ValidTargetName(t.Name) {
				return malformed("grants", t.String())
			}
		}
	}
	if len(u.Grants) > MaxGrants || resources > MaxResources {
		return fault.Newf(fault.TooLarge, "end access requests that are no longer needed", "a certificate holds at most %d grants with %d resources in all", MaxGrants, MaxResources)
	}
	return nil
}

// Validate refuses an identity in which something is missing or malformed.
func (h Host) Validate() error {
	prefix := map[string]string{KindAgent: "agt", KindProxy: "prx"}[h.Kind]
	switch {
	case prefix == "":
		return malformed("kind", h.Kind)
	case !cluster.MatchString(h.Cluster):
		return malformed("cluster", h.Cluster)
	case !ValidID("crt", h.Certificate):
		return malformed("certificate", h.Certificate)
	case !ValidID(prefix, h.ID):
		return malformed("id", h.ID)
	case !ValidClusterName(h.ClusterName):
		return malformed("cluster_name", h.ClusterName)
	case h.IssuedAt.IsZero():
		return malformed("issued_at", "")
	}
	for i, t := range h.Targets {
		if !ValidTargetKind(t.Kind) || !ValidTargetName(t.Name) || slices.Contains(h.Targets[:i], t) {
			return malformed("targets", t.String())
		}
	}
	return nil
}

func malformed(field, value string) error {
	if len(value) > 80 {
		value = value[:80] + "…"
	}
	return fault.Newf(fault.BadInput, "log in or join again; if it keeps happening, the issuer and this program disagree on what an identity is",
		"the identity's %s is missing or malformed: %q", field, value).With(field, "missing or malformed")
}
