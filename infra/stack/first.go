package stack

import (
	"fmt"

	"github.com/aws/constructs-go/constructs/v10"
)

// FirstKey is the context key that a first deployment is given: `-c stile:first=true`. It leaves out what would keep a
// creation that fails from being taken away: the tables' deletion protection, and the termination protection that the
// CDK's command line sets before it creates anything. Every later deployment is without it, and turns both on.
const FirstKey = "stile:first"

// first reports whether this is a first deployment. It panics on another value than true and false.
func first(c constructs.Construct) bool {
	switch v := c.Node().TryGetContext(new(FirstKey)); v {
	case nil, false, "false":
		return false
	case true, "true":
		return true
	default:
		panic(fmt.Sprintf("context %s is %v: say %[1]s=true at the first deployment, and leave it out later", FirstKey, v))
	}
}
