// Package identity says who somebody is: the claims in a certificate, for people and for
// hosts. The same JSON is in the X.509 extension [OID] and in the SSH extension identity@stile.dev.
//
// It doesn't know how certificates are made or judged. Its entry points are [User], [Host] and their codec.
package identity

import (
	"encoding/asn1"
	"slices"
	"time"

	"github.com/stile-dev/stile/pkg/names"
)

// OID is the private X.509 extension that holds the identity, as the bytes of its JSON in an OCTET STRING.
// It lies under 2.25, the arc that needs no registration (ITU-T X.667).
var OID = asn1.ObjectIdentifier{2, 25, 1937008997, 1}

// MaxSize is how many bytes of JSON an identity may take: API Gateway takes 10,240 bytes of headers in all.
const MaxSize = 4096

// Version orders signed documents: a restore or promotion starts an epoch, each publication counts up.
type Version struct {
	Epoch   uint64 `json:"epoch"`
	Counter uint64 `json:"counter"`
}

// Less reports whether v comes before w.
func (v Version) Less(w Version) bool {
	return v.Epoch < w.Epoch || v.Epoch == w.Epoch && v.Counter < w.Counter
}

// Versions are those of the three documents at the time of issue. Older ones must not be used to judge the certificate.
type Versions struct {
	Trust       Version `json:"trust"`
	Policy      Version `json:"policy"`
	Revocations Version `json:"revocations"`
}

// Form is how an identity is written: a later release may add fields, which an earlier one ignores, unless it is told
// that they limit what the certificate is good for.
type Form struct {
	V        int      `json:"v"`                  // 1
	Critical []string `json:"critical,omitempty"` // paths of fields: a program that doesn't know one must refuse the certificate
}

// formVersion is what this release writes. A later one counts up only when a known field gets another meaning.
const formVersion = 1

// User is a person's or program's identity.
type User struct {
	Form
	Cluster       string              `json:"cluster"`                  // cluster id, UUID
	Certificate   string              `json:"certificate"`              // crt_<ulid>, the same in the SSH and the X.509 certificate
	Name          string              `json:"name"`                     // unique name of the user
	Mapping       string              `json:"mapping,omitempty"`        // iam_mapping that admitted the user
	Record        string              `json:"record,omitempty"`         // scope of the user's record, when it added something
	UID           string              `json:"uid"`                      // immutable: usr_<hex>, survives renames
	Roles         []string            `json:"roles"`                    // sorted; permanent
	Traits        map[string][]string `json:"traits,omitempty"`         //
	Grants        []Grant             `json:"grants,omitempty"`         // what access requests added to the roles, for a while
	SourceAddress string              `json:"source_address,omitempty"` // when set: valid only from here, as in the SSH certificate's source-address
	Versions      Versions            `json:"versions"`
	IssuedAt      time.Time           `json:"issued_at"`
}

// Grant is what an approved access request adds to a user's own roles until its time is over. The certificate may live
// longer than the grant.
type Grant struct {
	Request   string    `json:"request"`             // req_<ulid>
	Roles     []string  `json:"roles"`               // sorted
	Resources []Target  `json:"resources,omitempty"` // when set, the grant's roles count only for these targets
	Until     time.Time `json:"until"`               // exclusive
}

// The most grants that a certificate has, and the most resources that all its grants have together.
const (
	MaxGrants    = 8
	MaxResources = 32
)

// Covers reports whether the grant counts for a target at a time.
func (g Grant) Covers(t Target, now time.Time) bool {
	return now.Before(g.Until) && (len(g.Resources) == 0 || slices.Contains(g.Resources, t))
}

// Kinds of host.
const (
	KindAgent = "agent"
	KindProxy = "proxy"
)

// nodeKind is the kind of targets that SSH host certificates are for.
const nodeKind = names.KindNode

// Host is an agent's or a proxy's identity.
type Host struct {
	Form
	Cluster     string            `json:"cluster"`
	ClusterName string            `json:"cluster_name"`      // the cluster's name
	Certificate string            `json:"certificate"`       // crt_<ulid>
	Kind        string            `json:"kind"`              // agent | proxy
	ID          string            `json:"id"`                // agt_<ulid> or prx_<ulid>, chosen by the server
	Targets     []Target          `json:"targets,omitempty"` // what it may serve, as kind/name; none for a proxy
	Scope       string            `json:"scope"`             // / by default
	Labels      map[string]string `json:"labels,omitempty"`  // pinned by token and AWS
	Method      string            `json:"method"`            // iam | token
	Token       string            `json:"token"`             // name of the join token
	AWS         string            `json:"aws,omitempty"`     // <partition>:<account>:<role name>:<role id>, when joined by iam
	Versions    Versions          `json:"versions"`
	IssuedAt    time.Time         `json:"issued_at"`
}
