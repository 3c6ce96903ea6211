package main

import (
	"fmt"
	"regexp"
	"strings"

	"example.test/fault"
)

type row struct {
	Name string `json:"name of nothing"`
}

var table = []entry{{Reason: "it is empty"}, {Hint: "write one"}}

func main() {
	a.log.WarnContext(ctx, "Proxy is leaving", "proxy", id)
	c.Flags().StringVar(&file, "file", "", "the file to read")
	f := fault.Newf(fault.NotFound, "run stile ls to see "+some(row{}, "which there are"), "there is no node %q", name)
	g := fault.New(fault.BadInput, "there is "+
		"no name", "").With("name", fmt.Sprintf("%d bytes", n))
	g.Hint = "write a name"
	regexp.MustCompile("of no interest")
	fmt.Println("of interest", "word", 3, strings.Join(list, "and so on"))
	return fmt.Errorf("reading: %w", err)
}
