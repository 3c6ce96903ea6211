// Package main holds code of the control plane by a detour.
package main

import (
	_ "github.com/stile-dev/stile/pkg/client"
	_ "github.com/stile-dev/stile/proxy/edge"
)
