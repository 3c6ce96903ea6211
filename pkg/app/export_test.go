package app

// Logger is for tests.
var Logger = logger
