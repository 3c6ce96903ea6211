package balance

// Members are the targets of a port.
type Members = members

// Change is change.
var Change = Members.change

// Serving is serving.
var Serving = Members.serving
