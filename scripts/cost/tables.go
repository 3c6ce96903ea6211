package cost

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// sums writes a month of each scenario, by what is billed.
func (f facts) sums(b *strings.Builder) {
	b.WriteString("## A month\n\nIn dollars.\n\n| |")
	bills := make([]map[string]float64, len(scenarios))
	names := map[string]bool{}
	for i, s := range scenarios {
		bills[i] = s.bill(f)
		fmt.Fprintf(b, " %s |", s.name)
		for name := range bills[i] {
			names[name] = true
		}
	}
	b.WriteString("\n|" + strings.Repeat("---|", len(scenarios)+1) + "\n")
	for _, name := range slices.Sorted(maps.Keys(names)) {
		fmt.Fprintf(b, "| %s |", name)
		for _, bill := range bills {
			fmt.Fprintf(b, " %.2f |", bill[name])
		}
		b.WriteString("\n")
	}
	b.WriteString("| **all** |")
	for _, bill := range bills {
		fmt.Fprintf(b, " **%.0f** |", sum(bill))
	}
	b.WriteString("\n\n")
}

// worst writes what a flood adds.
func (f facts) worst(b *strings.Builder) {
	idle := scenario{}.bill(f)
	flood := scenario{flood: f.openRate}.bill(f)
	fmt.Fprintf(b, "## The worst month\n\nWhat strangers add who fill each of the %d open routes to its throttle of %.0f calls a second (`OpenRouteRate`) all month, "+
		"well-formed and from so many addresses that no rate holds them back. What a throttle refuses is not billed. No call of KMS is among it "+
		"([0019](decisions/0019-challenge-keys-are-derived.md)).\n\n| | dollars |\n|---|---|\n", f.openRoutes, f.openRate)
	for _, name := range slices.Sorted(maps.Keys(flood)) {
		if added := flood[name] - idle[name]; added >= 0.5 {
			fmt.Fprintf(b, "| %s | %.0f |\n", name, added)
		}
	}
	added := sum(flood) - sum(idle)
	fmt.Fprintf(b, "| **all** | **%.0f**, %.0f a day |\n", added, added*24/hours)
	signed := f.signedOf - float64(f.openRoutes)
	n := signed * f.signedRate * seconds
	u := usage{}
	u.calls(n, f.signer, frontSeconds)
	var other float64
	for name, quantity := range u {
		other += quantity * prices[name].dollars
	}
	fmt.Fprintf(b, "\nThe other %.0f routes admit %.0f calls a second. A function refuses who isn't signed in before it looks anything up, and that costs a call, a run and "+
		"its log. AWS's pages leave open whether the stage's throttle is for each of them or for all together: if for each, a flood of all of them adds %.0f a month, if for all, %.0f.\n\n"+
		"The throttles bound the bill, not the flood: while it lasts, most of those who want to log in or join are refused with 429. Put a web ACL with a rate for each address in front "+
		"(`WebAclArn`), and let an alarm on the API's count of calls tell you.\n", signed, f.signedRate, other, other/signed)
}

// assumptions writes what the sums rest on.
func assumptions(b *strings.Builder, f facts) {
	fmt.Fprintf(b, `
## What is assumed

* An engineer has %.0f working days a month, and on each of them %.0f logins, %.0f calls of `+"`stile ls`"+` and the like, %.0f sessions with %.0f MB each, %.0f chunks of their recordings, %.0f events and one more for each chunk, and %.2f changes of roles, users, mappings or tokens.
* A recording is %.0f %% of what its session showed. A chunk is one call, one PUT and one event, a recording three calls and %.0f writes more. Events and recordings of a year are kept; to put objects from a node costs nothing where its network has a gateway endpoint for S3, and else what a NAT gateway costs.
* A node renews its certificate %.1f times a day and moves %.0f MB a month through its tunnel when nobody uses it.
* A login or join is two calls, two signatures, %.0f writes and %.0f reads; a front runs for %.0f ms to hand out a challenge, a signer for %.0f ms, and the front waits for it.
* A run logs %.0f KB. A front has %.0f MB, a signer and every other function is counted with %.0f MB.
* Small clusters have %d proxies, the largest has %d. A proxy renews its lease every three seconds and looks for documents four times a second; a document is published each minute.
* Each function that makes or judges challenges calls KMS once an hour.
* Alarms read %d metrics, of which %d stands for a query: that one is billed by the metrics that it finds, errors of DynamoDB by table and operation. Without errors there should be none; if CloudWatch keeps zeros of them, they are up to 40, $4 a month.
`, workdays, loginsADay, listsADay, sessionsADay, sessionGB*1000, chunksASess, eventsASess, changesADay, recordedShare*100, recordWrites, renewalsADay, nodeTrafficGB*1000,
		2*arrivalWrites+proofWrites, proofReads, frontSeconds*1000, signSeconds*1000, runLogGB*1e6, f.front*1024, f.signer*1024,
		f.proxies, scenarios[len(scenarios)-1].proxies, f.alarmMetrics+f.alarmQueries, f.alarmQueries)
}
