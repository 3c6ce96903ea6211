// Command login may make codes and has an API. It has no right to sign.
package main

import (
	_ "github.com/stile-dev/stile/pkg/api/answer"
	_ "github.com/stile-dev/stile/pkg/kms"
	_ "github.com/stile-dev/stile/pkg/kms/mac"
	_ "github.com/stile-dev/stile/pkg/kms/signer"
)
