package policy

import "github.com/stile-dev/stile/pkg/resource"

// Options are what applies to a session, folded over the roles that allow it. The zero value is the strictest.
type Options struct {
	// OutliveCertificate lets the session go on when the certificate that opened it has expired: only when every role
	// that allows it says so.
	OutliveCertificate bool `json:"outlive_certificate,omitempty"`
	// Record is how sessions are recorded: the strictest of what the roles say; "" when none says anything, and then the
	// cluster's settings count.
	Record string `json:"record,omitempty"`
	// AdmitWhenFull lets the session begin unrecorded when the node has no room for recordings: when any of the roles says so.
	AdmitWhenFull bool `json:"admit_when_full,omitempty"`
}

// fold adds one more role that allows; the first sets, the others restrict.
func (o *Options) fold(r resource.RoleOptions, first bool) {
	outlive := r.DisconnectExpiredCert != nil && !*r.DisconnectExpiredCert
	o.OutliveCertificate = outlive && (first || o.OutliveCertificate)
	o.Record = resource.Strictest(o.Record, r.Record)
	o.AdmitWhenFull = o.AdmitWhenFull || r.RecordWhenFull == resource.AdmitWhenFull
}
