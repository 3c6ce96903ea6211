package record

// SyncData is how a file survives a crash of the machine where the configuration doesn't say it.
var SyncData = syncData

// Checked is the length of an entry as a journal has it.
var Checked = checked

// Controls is how many control characters there are.
var Controls = controls
