// Package ocsf says audit events in the terms of the Open Cybersecurity Schema Framework, version 1.2.0, so that what collects
// security events of many products understands ours.
//
// It writes nothing anywhere. Its entry point is [Map].
package ocsf

// Version is that of the schema that records follow.
const Version = "1.2.0"

// Record is one event as OCSF has it. Which attributes are set depends on the class; what OCSF has no place for is in Unmapped.
type Record struct {
	ActivityID   int      `json:"activity_id"`
	ActivityName string   `json:"activity_name,omitempty"` // the event's type, when the activity is 99, other
	CategoryUID  int      `json:"category_uid"`
	ClassUID     int      `json:"class_uid"`
	SeverityID   int      `json:"severity_id"`
	StatusID     int      `json:"status_id"`
	StatusDetail string   `json:"status_detail,omitempty"`
	Time         int64    `json:"time"` // milliseconds since 1970
	TypeUID      int64    `json:"type_uid"`
	Message      string   `json:"message,omitempty"`
	Count        int      `json:"count,omitempty"`
	StartTime    int64    `json:"start_time,omitempty"` // milliseconds since 1970
	Metadata     Metadata `json:"metadata"`

	Actor     *Actor     `json:"actor,omitempty"`
	User      *User      `json:"user,omitempty"`
	Service   *Named     `json:"service,omitempty"`
	Source    *Endpoint  `json:"src_endpoint,omitempty"`
	Target    *Endpoint  `json:"dst_endpoint,omitempty"`
	Entity    *Entity    `json:"entity,omitempty"`
	API       *API       `json:"api,omitempty"`
	Resources []Resource `json:"resources,omitempty"`
	Device    *Device    `json:"device,omitempty"`
	File      *File      `json:"file,omitempty"`
	Finding   *Finding   `json:"finding_info,omitempty"`

	Unmapped map[string]any `json:"unmapped,omitempty"` // the event's fields by their own names, the data as an object
}

// Metadata says whose record it is.
type Metadata struct {
	Version        string  `json:"version"`
	UID            string  `json:"uid,omitempty"` // the event's id
	Product        Product `json:"product"`
	EventCode      string  `json:"event_code,omitempty"`
	CorrelationUID string  `json:"correlation_uid,omitempty"` // the session, or else the decision
	LogProvider    string  `json:"log_provider,omitempty"`    // the event's source
	Sequence       uint64  `json:"sequence,omitempty"`
	TenantUID      string  `json:"tenant_uid,omitempty"` // the cluster
}

// Product is us.
type Product struct {
	Name       string `json:"name"`
	VendorName string `json:"vendor_name"`
}

// Actor is who did it: one of both.
type Actor struct {
	User    *User  `json:"user,omitempty"`
	AppName string `json:"app_name,omitempty"` // a function, an agent or a proxy: <kind>/<name>
}

// User is a person, or a machine that logs in.
type User struct {
	Name       string  `json:"name,omitempty"`
	UID        string  `json:"uid,omitempty"`
	TypeID     int     `json:"type_id"`
	Groups     []Group `json:"groups,omitempty"` // roles
	Credential string  `json:"credential_uid,omitempty"`
}

// Group is a role.
type Group struct {
	Name string `json:"name"`
	Type string `json:"type"`
}

// Named is a service.
type Named struct {
	Name string `json:"name"`
}

// Endpoint is one side of a connection.
type Endpoint struct {
	Name  string `json:"name,omitempty"`
	IP    string `json:"ip,omitempty"`
	UID   string `json:"uid,omitempty"`
	Type  string `json:"type,omitempty"`
	Owner *User  `json:"owner,omitempty"`
}

// Entity is what is managed.
type Entity struct {
	Name string `json:"name"`
	Type string `json:"type,omitempty"`
}

// API is a call.
type API struct {
	Operation string   `json:"operation"`
	Request   *Request `json:"request,omitempty"`
}

// Request is a call's id.
type Request struct {
	UID string `json:"uid"`
}

// Resource is what a call or a finding is about.
type Resource struct {
	Name string `json:"name"`
	Type string `json:"type,omitempty"`
}

// Device is where it happened.
type Device struct {
	Name   string `json:"name"`
	TypeID int    `json:"type_id"`
}

// File is a piece of a recording.
type File struct {
	Name   string        `json:"name"`
	Path   string        `json:"path,omitempty"` // <session>/<name>
	TypeID int           `json:"type_id"`
	Size   int64         `json:"size,omitempty"`
	Hashes []Fingerprint `json:"hashes,omitempty"`
}

// Fingerprint is a hash.
type Fingerprint struct {
	AlgorithmID int    `json:"algorithm_id"`
	Value       string `json:"value"` // hex
}

// Finding is what somebody should look at. What ends it has the UID of what began it.
type Finding struct {
	UID   string   `json:"uid"`
	Title string   `json:"title"`
	Desc  string   `json:"desc,omitempty"`
	Types []string `json:"types,omitempty"`
}
