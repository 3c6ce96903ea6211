package policy

import "github.com/stile-dev/stile/pkg/resource"

// Options are what applies to a session, folded over the roles that allow it. The zero value is the strictest.
type Options struct {
	// OutliveCertificate lets the session go on when the certificate that opened it has expired: only when every role
	// that allows it says so.
	OutliveCertificate bool `json:"outlive_certificate,omitempty"`
}

// fold adds one more role that allows; the first sets, the others restrict.
func (o *Options) fold(r resource.RoleOptions, first bool) {
	outlive := r.DisconnectExpiredCert != nil && !*r.DisconnectExpiredCert
	o.OutliveCertificate = outlive && (first || o.OutliveCertificate)
}
