package revoked

import (
	"time"

	"github.com/stile-dev/stile/pkg/certs"
	"github.com/stile-dev/stile/pkg/identity"
)

// Run is what became of the orders after one number, up to another. Each number was given to an order, so each one is in
// one of the three.
type Run struct {
	Orders  []Order
	Pending []int64 // still being written: the change is made, and its order can't be read yet
	Gone    []int64 // no longer there
}

// slack is how much longer an order counts than any certificate lives: for clocks that differ, and for what was being
// issued while it was written.
const slack = time.Hour

// Life is how long what an order for a list ends can live.
func Life(list string) time.Duration {
	if list == Agents {
		return certs.MaxHostLife + slack
	}
	return certs.MaxUserLife + slack
}

// Lost reports whether orders that are gone should still be there. They were given after the publication of a time, and
// an order leaves when it is over: what was published so long ago that it can be over may miss some, and loses nothing. Zero
// is a time that nobody knows.
func Lost(published, now time.Time) bool {
	return published.IsZero() || now.Before(published.Add(Life(Users)))
}

// Everybody returns the orders that revoke everybody in both lists. They stand in for an order that is lost: it may
// have been for any of them.
func Everybody(now time.Time) (all []Order) {
	for _, list := range []string{Users, Agents} {
		all = append(all, All(list, now))
	}
	return all
}

// All returns the order that revokes everybody in a list.
func All(list string, now time.Time) Order {
	return Order{Ref: identity.Everybody(list), Reserve: true, Until: now.Add(Life(list))}
}
