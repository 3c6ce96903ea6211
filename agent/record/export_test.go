package record

// SyncData is how a file survives a crash of the machine where the configuration doesn't say it.
var SyncData = syncData
