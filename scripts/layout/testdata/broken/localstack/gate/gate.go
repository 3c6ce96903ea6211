// Package gate knows the product.
package gate

import _ "github.com/stile-dev/stile/pkg/names"
