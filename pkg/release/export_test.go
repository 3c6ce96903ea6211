package release

// Of is of, for tests.
var Of = of
