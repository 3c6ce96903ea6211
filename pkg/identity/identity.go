// Package identity says who somebody is: the claims that stand in a certificate, for people and for
// hosts. The same JSON stands in the X.509 extension [OID] and in the SSH extension identity@stile.dev.
//
// It doesn't know how certificates are made or judged. Its entry points are [User], [Host] and their codec.
package identity

import (
	"encoding/asn1"
	"time"
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

// Versions are those of the three documents at the moment of issue. Nobody may judge the certificate with older ones.
type Versions struct {
	Trust       Version `json:"trust"`
	Policy      Version `json:"policy"`
	Revocations Version `json:"revocations"`
}

// User is a person's or program's identity.
type User struct {
	Cluster       string              `json:"cluster"`             // cluster id, UUID
	Certificate   string              `json:"certificate"`         // crt_<ulid>, the same in the SSH and the X.509 certificate
	Name          string              `json:"name"`                // unique name of the user
	Mapping       string              `json:"mapping,omitempty"`   // iam_mapping that let the user in
	UID           string              `json:"uid"`                 // immutable: usr_<hex>, survives renames
	Roles         []string            `json:"roles"`               // sorted
	Traits        map[string][]string `json:"traits,omitempty"`    //
	Requests      []string            `json:"requests,omitempty"`  // access requests that the roles came from
	Resources     []string            `json:"resources,omitempty"` // when set: only these
	MFA           string              `json:"mfa,omitempty"`       // mark of a second factor
	Device        string              `json:"device,omitempty"`    // mark of a device
	SourceAddress string              `json:"source_address,omitempty"`
	Versions      Versions            `json:"versions"`
	IssuedAt      time.Time           `json:"issued_at"`
}

// Kinds of host.
const (
	KindAgent = "agent"
	KindProxy = "proxy"
)

// Host is an agent's or a proxy's identity.
type Host struct {
	Cluster     string            `json:"cluster"`
	Certificate string            `json:"certificate"`         // crt_<ulid>
	Kind        string            `json:"kind"`                // agent | proxy
	ID          string            `json:"id"`                  // agt_<ulid> or prx_<ulid>, chosen by the server
	Names       []string          `json:"names,omitempty"`     // node names that it may serve
	Resources   []string          `json:"resources,omitempty"` // kinds that it may serve: node, …
	Scope       string            `json:"scope"`               // / by default
	Labels      map[string]string `json:"labels,omitempty"`    // pinned by token and AWS
	Method      string            `json:"method"`              // iam | token
	Token       string            `json:"token"`               // name of the join token
	AWS         string            `json:"aws,omitempty"`       // <partition>:<account>:<role name>:<role id>, when joined by iam
	Versions    Versions          `json:"versions"`
	IssuedAt    time.Time         `json:"issued_at"`
}
