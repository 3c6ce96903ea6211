package profile

// Unusable is for the errors of a disk that no test can have.
var Unusable = unusable
