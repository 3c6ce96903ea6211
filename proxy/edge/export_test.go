package edge

// ReadHeader lets the fuzz test reach the parser.
var ReadHeader = readHeader
