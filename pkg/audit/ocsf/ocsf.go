package ocsf

import (
	"cmp"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/names"
)

// product is the name that OCSF knows us by, as product and as vendor.
const product = "Stile"

// Types of users, files, devices and hashes.
const (
	person      = 1
	machine     = 3
	regularFile = 1
	server      = 1
	sha256      = 3
)

// Map says a valid event as OCSF does. Of a type that has no row it makes a record of no class, with everything unmapped.
func Map(e audit.Event) Record {
	row := Types[e.Type]
	if row.Class == NetworkActivity && e.TargetKind == names.KindNode {
		row.Class = SSHActivity
	}
	r := Record{
		ActivityID: row.Activity, CategoryUID: int(row.Class) / 1000, ClassUID: int(row.Class), SeverityID: row.Severity, StatusID: 1,
		StatusDetail: e.Reason, Time: e.Time.UnixMilli(), TypeUID: int64(row.Class)*100 + int64(row.Activity), Message: audit.Types[e.Type].Summary,
		Metadata: Metadata{
			Version: Version, UID: e.ID, Product: Product{product, product}, EventCode: e.Code, CorrelationUID: cmp.Or(e.SessionID, e.DecisionID),
			LogProvider: e.Source, Sequence: e.Seq, TenantUID: e.Cluster,
		},
		Unmapped: unmapped(e),
	}
	if row.Activity == other {
		r.ActivityName = string(e.Type)
	}
	if e.Outcome != audit.Success {
		r.StatusID = 2
	}
	switch row.Class {
	case Authentication:
		r.User, r.Source, r.Service = who(e), from(e), &Named{product}
	case EntityManagement:
		r.Actor, r.Source, r.Entity = actor(e), from(e), &Entity{cmp.Or(e.Target, string(e.Type)), e.TargetKind}
	case APIActivity:
		r.Actor, r.Source, r.API, r.Resources = actor(e), from(e), call(e), about(e)
	case NetworkActivity, SSHActivity:
		// What the class has an actor in is a profile; whose side it is, is in the class itself.
		r.Source, r.Target = from(e), to(e)
		r.Source.Owner = who(e)
		r.Count, r.StartTime = counted(e)
	case FileActivity:
		r.Actor, r.File, r.Device = actor(e), file(e), &Device{e.Source, server}
	case DetectionFinding:
		r.Resources = about(e)
		r.Finding = &Finding{UID: finding(e), Title: audit.Types[e.Type].Summary, Desc: e.Reason, Types: []string{string(e.Type)}}
	}
	return r
}

// unmapped is what has no attribute of OCSF, or one in some classes only, by our names. The data are there whole.
func unmapped(e audit.Event) map[string]any {
	out := map[string]any{"type": string(e.Type), "outcome": string(e.Outcome), "actor": e.Actor}
	for name, value := range map[string]string{
		"target_kind": e.TargetKind, "target": e.Target, "scope": e.Scope, "session_id": e.SessionID, "request_id": e.RequestID,
		"decision_id": e.DecisionID, "source_ip": e.SourceIP, "source_epoch": e.SourceEpoch, "source_after": e.SourceAfter,
	} {
		if value != "" {
			out[name] = value
		}
	}
	if len(e.ActorRoles) > 0 {
		out["actor_roles"] = e.ActorRoles
	}
	if len(e.Data) > 0 {
		out["data"] = e.Data
	}
	return out
}

// who is the actor as a user, whatever it is.
func who(e audit.Event) *User {
	kind, name, ok := strings.Cut(e.Actor, "/")
	u := &User{Name: name, TypeID: machine}
	switch {
	case !ok:
		u.Name, u.TypeID = e.Actor, 0
	case kind == "user":
		u.TypeID, u.UID, u.Credential = person, e.Data["uid"], e.Data["certificate"]
	case kind == "aws":
		u.TypeID = 0 // nobody knows yet what it is
	default:
		u.UID = name
	}
	u.Name = cmp.Or(u.Name, e.Actor)
	for _, role := range e.ActorRoles {
		u.Groups = append(u.Groups, Group{role, "role"})
	}
	return u
}

// actor is who did it: a function, an agent or a proxy is a program.
func actor(e audit.Event) *Actor {
	switch kind, _, _ := strings.Cut(e.Actor, "/"); kind {
	case "function", "agent", "proxy":
		return &Actor{AppName: e.Actor}
	}
	return &Actor{User: who(e)}
}

// from is where the actor came from: by its address if that is known, and else by the actor's name.
func from(e audit.Event) *Endpoint {
	if addr, err := netip.ParseAddr(e.SourceIP); err == nil {
		return &Endpoint{IP: addr.WithZone("").String()}
	}
	return &Endpoint{Name: e.Actor}
}

// to is the target, or the agent or proxy that stands before it.
func to(e audit.Event) *Endpoint {
	if e.Target == "" {
		return &Endpoint{Name: e.Source}
	}
	return &Endpoint{Name: e.Target, Type: e.TargetKind}
}

func call(e audit.Event) *API {
	api := &API{Operation: strings.TrimSpace("access " + e.TargetKind)}
	if e.Type == audit.RecordingRead {
		api.Operation = "read recording"
	}
	if e.RequestID != "" {
		api.Request = &Request{e.RequestID}
	}
	return api
}

func about(e audit.Event) []Resource {
	if e.Target == "" {
		return nil
	}
	return []Resource{{e.Target, e.TargetKind}}
}

// counted is how many events the record stands for, and since when they are counted; 0 where it is itself.
func counted(e audit.Event) (n int, since int64) {
	if e.Type != audit.SessionDenialsCounted {
		return 0, 0
	}
	n, err := strconv.Atoi(e.Data["denials"])
	if err != nil || n < 0 {
		n = 0
	}
	if at, err := time.Parse(time.RFC3339, e.Data["since"]); err == nil && at.Unix() > 0 {
		since = at.UnixMilli()
	}
	return n, since
}

// file is the piece or manifest that an event of a recording is about.
func file(e audit.Event) *File {
	f := &File{Name: "recording", TypeID: regularFile}
	if e.Type == audit.RecordingChunk {
		f.Name = "chunk " + e.Data["seq"]
		f.Hashes = []Fingerprint{{sha256, e.Data["sha256"]}}
		if size, err := strconv.ParseInt(e.Data["size"], 10, 64); err == nil && size > 0 {
			f.Size = size
		}
	}
	if e.Type == audit.RecordingEnd {
		f.Name = "manifest"
	}
	if e.SessionID != "" {
		f.Path = e.SessionID + "/" + f.Name
	}
	return f
}

// finding is what the finding is called: of stale documents what their end can name again.
func finding(e audit.Event) string {
	if e.Type == audit.DocumentsStale || e.Type == audit.DocumentsFresh {
		return string(audit.DocumentsStale) + "/" + e.Actor
	}
	return e.ID
}
