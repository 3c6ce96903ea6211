package status

// Silent is the fault when an agent was not reached.
func Silent(dir string, err error) error { return silent(dir, err) }
