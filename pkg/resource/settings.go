package resource

// ClusterSettings is the one name that settings have.
const ClusterSettings = "cluster"

// SettingsSpec is the body of the cluster's settings. What is left out is as without settings.
type SettingsSpec struct {
	Record   string `json:"record,omitempty"`    // how sessions are recorded where no role says it: off, best-effort, which is the default, or strict
	RecordAt string `json:"record_at,omitempty"` // node: the agent beside the target records
}

// recordAtNode is the one place where sessions are recorded so far.
const recordAtNode = "node"

func (s *SettingsSpec) check(c *checker) {
	if !ValidRecord(s.Record) {
		c.add("spec.record", "%q is not a way to record; write off, best-effort or strict", s.Record)
	}
	switch s.RecordAt {
	case "", recordAtNode:
	case "gateway":
		c.add("spec.record_at", "recording at a gateway comes with servers that have no agent of their own; write node, or leave it out")
	default:
		c.add("spec.record_at", "%q is not known; write node, or leave it out", s.RecordAt)
	}
}
