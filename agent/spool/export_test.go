package spool

import "os"

// Full has the segment written to next on a disk that takes nothing, or on its own again.
func (s *Spool) Full(full bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	path := s.path(s.segments[len(s.segments)-1].number)
	if full {
		path = "/dev/full"
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err == nil {
		_ = s.file.Close()
		s.file = f
	}
	return err
}
