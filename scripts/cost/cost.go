// Package cost says what a cluster costs: it reads the templates of infra and multiplies what they declare, what the code
// does by itself and what people and nodes are assumed to do with a dated table of prices. docs/cost.md is what it writes.
//
// It asks AWS nothing. Its entry point is [Document].
package cost

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Document renders docs/cost.md from the templates below root. A type of resource that nobody has said the price of is an
// error, and so is a price that nothing uses.
func Document(root string) (string, error) {
	f, err := read(root)
	if err != nil {
		return "", err
	}
	if err := complete(f); err != nil {
		return "", err
	}
	var b strings.Builder
	b.WriteString(head)
	f.sums(&b)
	f.worst(&b)
	assumptions(&b, f)
	b.WriteString("\n## Prices\n\nIn US dollars, as known in " + dated + "; check with the AWS calculator for your Region.\n\n| | dollars | for a | AWS's page |\n|---|---|---|---|\n")
	for _, name := range slices.Sorted(maps.Keys(prices)) {
		p := prices[name]
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", name, strings.TrimRight(fmt.Sprintf("%.10f", p.dollars), "0"), p.unit, p.page)
	}
	b.WriteString(units)
	b.WriteString("\n## What is billed\n\nEach type of resource that the templates declare.\n\n| type | number | billed |\n|---|---|---|\n")
	for _, name := range slices.Sorted(maps.Keys(f.count)) {
		fmt.Fprintf(&b, "| `%s` | %d | %s |\n", name, f.count[name], kindOf(name).why(f, name))
	}
	return b.String(), nil
}

const head = `# What it costs

Written by ` + "`go test ./scripts/cost -update`" + ` from the templates, the rhythms in the code and the prices and assumptions below; the same test without the flag fails when a template declares something that isn't here. Taxes, support, discounts, the free tier, CloudTrail and what your engineers do in their sessions are not in it.

`

// units are those that say nothing by their names.
const units = `
* A **read request unit** of DynamoDB is one strongly consistent read of an item, or of all that a query finds together, of up to 4 KB; half of one if the read is eventually consistent, and two in a transaction.
* A **write request unit** is one write of an item of up to 1 KB, and two in a transaction. The deletion of an item that has expired is free.
* An **NLCU** is the unit of a Network Load Balancer's capacity. An hour takes as many as the greatest of these asks for: 800 new connections a second, 100,000 open connections, 1 GB of traffic in the hour. What passes between an engineer and a node passes the balancer twice, since the node's tunnel comes through it as well. Not counted: half of what passes the balancer goes to a proxy in another zone, and AWS takes $0.01 a GB for that on each side.
* A **GB-second** of Lambda is a function's memory for as long as it runs, by the millisecond.
`

// kindOf returns what is known of a type; functions of custom resources are functions.
func kindOf(name string) kind {
	if strings.HasPrefix(name, "Custom::") {
		return kind{free: "the runs of its function, at deployments"}
	}
	return kinds[name]
}

func complete(f facts) error {
	used := map[string]bool{}
	for name := range f.count {
		k := kindOf(name)
		if k.free == "" && k.billed == nil && k.always == nil {
			return fmt.Errorf("nobody has said what %s costs: write it in scripts/cost/resources.go, or why it costs nothing", name)
		}
	}
	for name, k := range kinds {
		if k.free != "" && (k.billed != nil || k.always != nil) {
			return fmt.Errorf("%s is both billed and free in scripts/cost/resources.go", name)
		}
		prices := slices.Clone(k.billed)
		if k.always != nil {
			for _, s := range k.always(f, name) {
				prices = append(prices, s.price)
			}
		}
		for _, p := range prices {
			used[p] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(prices)) {
		if !used[name] {
			return fmt.Errorf("nothing in scripts/cost/resources.go is billed by %q", name)
		}
		delete(used, name)
	}
	for _, name := range slices.Sorted(maps.Keys(used)) {
		return fmt.Errorf("scripts/cost/prices.go has no price of %q", name)
	}
	return nil
}

func (k kind) why(f facts, name string) string {
	if k.free != "" {
		return "no: " + k.free
	}
	by := slices.Clone(k.billed)
	if k.always != nil {
		for _, s := range k.always(f, name) {
			by = append(by, s.price)
		}
	}
	return "by " + strings.Join(by, ", ")
}

// bill is a month's dollars by price.
func (s scenario) bill(f facts) map[string]float64 {
	if s.proxies > 0 {
		f.proxies = s.proxies
	}
	used := s.consumed(f)
	for name := range f.count {
		if k := kindOf(name); k.always != nil {
			for _, one := range k.always(f, name) {
				used[one.price] += one.quantity
			}
		}
	}
	out := map[string]float64{}
	for name, quantity := range used {
		p, ok := prices[name]
		if !ok {
			panic("scripts/cost/prices.go has no price of " + name)
		}
		out[name] = quantity * p.dollars
	}
	return out
}

func sum(bill map[string]float64) (total float64) {
	for _, dollars := range bill {
		total += dollars
	}
	return total
}
