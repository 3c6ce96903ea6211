// Package operation has what the functions with an API do for each operation, in a package for each function, so that
// none contains another's. Its tests serve all of them on one cluster.
package operation
