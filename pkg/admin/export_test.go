package admin

// Gives is the table of what changes of each kind give.
var Gives = gives
