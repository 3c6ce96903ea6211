package code

// Pack is pack, for tests.
var Pack = pack
