// Package stack knows more than names.
package stack

import _ "github.com/stile-dev/stile/pkg/fault"
