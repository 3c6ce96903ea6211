// Package names imports too much.
package names

import _ "golang.org/x/crypto/ssh"
