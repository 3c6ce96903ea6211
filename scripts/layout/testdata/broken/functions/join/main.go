// Command join holds a key's code without a right to any key.
package main

import _ "github.com/stile-dev/stile/pkg/kms"
