package proc

// For the tests.
var (
	ParseRollup = parseRollup
	ParseCPU    = parseCPU
	ParseParent = parseParent
)
