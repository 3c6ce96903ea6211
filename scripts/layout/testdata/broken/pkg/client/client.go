// Package client brings an adapter of the control plane along.
package client

import _ "github.com/stile-dev/stile/pkg/kms"
