// Package edge knows the local AWS.
package edge

import _ "github.com/stile-dev/stile/localstack/gate"
