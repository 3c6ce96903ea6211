// Package kms knows a program.
package kms

import _ "github.com/stile-dev/stile/cli/output"
