// Command publish may sign. It may make no code, and hides an API where no rule looks.
package main

import (
	_ "github.com/stile-dev/stile/pkg/kms/mac"
	_ "github.com/stile-dev/stile/pkg/kms/signer"
	_ "github.com/stile-dev/stile/pkg/testdata/sneak"
)
