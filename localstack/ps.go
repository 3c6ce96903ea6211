package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/stile-dev/stile/localstack/process"
)

// running is one process that up started, or that such a process started.
type running struct {
	Name string `json:"name"`
	PID  int    `json:"pid"`
	Addr string `json:"addr"` // host:port that it listens on; "" for one that listens nowhere
}

// ps prints every running process: the local AWS, the load balancer, tasks, agents. One that died is left out
// until it is started again. So are functions: their instances come and go with the calls.
func ps(p place, format string, out io.Writer) error {
	if format != "table" && format != "json" {
		return fmt.Errorf("%w: there is no format %q: use --format table or --format json", errUsage, format)
	}
	o, err := p.readPorts()
	if err != nil {
		return err
	}
	list := listRunning(process.List(p.run()), o)
	switch {
	case format == "json":
		return json.NewEncoder(out).Encode(list)
	case len(list) == 0:
		_, err := fmt.Fprintf(out, "nothing in %s is running; start it with make up (STILE_STATE names the directory)\n", p.state)
		return err
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "NAME\tPID\tADDR")
	for _, r := range list {
		fmt.Fprintf(table, "%s\t%d\t%s\n", r.Name, r.PID, cmp.Or(r.Addr, "-"))
	}
	return table.Flush()
}

func listRunning(records []process.Record, o *ports) []running {
	list := []running{}
	for _, r := range records {
		if r.Alive() {
			list = append(list, running{r.Name, r.PID, o.address(r.Name)})
		}
	}
	slices.SortFunc(list, func(a, b running) int {
		stemA, nA := numbered(a.Name)
		stemB, nB := numbered(b.Name)
		return cmp.Or(cmp.Compare(o.rank(a.Name), o.rank(b.Name)), cmp.Compare(stemA, stemB), cmp.Compare(nA, nB))
	})
	return list
}

// address returns where a process listens, "" if nowhere.
func (o *ports) address(name string) string {
	switch {
	case name == serveName:
		return loopback(o.AWS)
	case name == balancerName:
		return loopback(o.Proxy)
	case o.Tasks[name] != 0:
		return loopback(o.Tasks[name])
	}
	return ""
}

// rank orders processes: the local AWS, the load balancer, tasks, agents.
func (o *ports) rank(name string) int {
	switch {
	case name == serveName:
		return 0
	case name == balancerName:
		return 1
	case o.Tasks[name] != 0:
		return 2
	}
	return 3
}

// numbered returns node- and 12 for node-12, so that it sorts behind node-2.
func numbered(name string) (stem string, n int) {
	end := strings.LastIndexByte(name, '-') + 1
	n, err := strconv.Atoi(name[end:])
	if err != nil {
		return name, 0
	}
	return name[:end], n
}
