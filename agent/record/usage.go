package record

// Usage is how much of the disk recordings take, and how much they may.
type Usage struct {
	Bytes   int64 // on the disk, without the reserve
	Limit   int64 // bytes that they may
	Waiting int   // recordings of sessions that have ended, of which S3 doesn't hold all
	Full    bool  // no further session is recorded, for they take as much as they may or the disk has too little room left
}

// Usage says how much of the disk recordings take. It reads no disk: what it says of that is a second old at most.
func (s *Spool) Usage() Usage {
	u := Usage{Bytes: s.used.Load(), Limit: s.config.Limit}
	u.Full = s.taken()+chunkSize > u.Limit || s.scarce.Load()
	s.mu.Lock()
	defer s.mu.Unlock()
	for session := range s.kept {
		if s.open[session] == nil {
			u.Waiting++
		}
	}
	return u
}
