package passthrough

import "github.com/stile-dev/stile/proxy/edge"

// Bound has the handler allow other numbers of connections than the product's.
func (h *Handler) Bound(each, all int) { h.places = edge.NewPlaces(each, all) }
