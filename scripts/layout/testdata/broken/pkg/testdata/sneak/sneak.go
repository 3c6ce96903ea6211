// Package sneak is where no rule looks.
package sneak

import _ "github.com/stile-dev/stile/pkg/api/answer"
