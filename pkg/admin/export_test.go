package admin

// Gives is the table of what changes of each kind give.
var Gives = gives

// Pictures is what adds to a change's event what was changed.
var Pictures = pictures
