package main

import (
	"testing"

	"github.com/stile-dev/stile/pkg/client/rootstest"
)

func TestPublicRootsAreInTheProgram(t *testing.T) { rootstest.Public(t) }
