package main

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stile-dev/stile/localstack/process"
)

// A proxy that was told to end closes its port and stays for its sessions: no new one starts in its place until it has gone.
func TestAProxyThatStillDrainsIsNamedWithWhatToRun(t *testing.T) {
	p := place{state: t.TempDir()}
	if err := os.MkdirAll(p.run(), 0o700); err != nil {
		t.Fatal(err)
	}
	records := map[string]process.Record{}
	for _, name := range []string{"proxy-0", "proxy-1", "node-1"} {
		r, wait, err := process.Start(process.Spec{Name: name, Path: "/bin/sleep", Args: []string{"600"}, Log: filepath.Join(p.run(), name+".log"), StopTimeout: 2 * time.Minute}, p.run())
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- wait() }()
		t.Cleanup(func() { _ = r.Stop(context.Background()); <-ended })
		records[name] = r
	}
	listens, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listens.Close() }()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	d := &deployment{place: p, ports: &ports{Tasks: map[string]int{
		"proxy-0": closed.Addr().(*net.TCPAddr).Port, "proxy-1": listens.Addr().(*net.TCPAddr).Port,
	}}}
	if err := d.draining(t.Context(), nil); err != nil {
		t.Errorf("nothing ran before: %v", err)
	}
	before := process.List(p.run())
	err = d.draining(t.Context(), before)
	if err == nil {
		t.Fatal("proxy-0 is not named")
	}
	pid := strconv.Itoa(records["proxy-0"].PID)
	for _, says := range []string{"proxy-0 of an earlier make up (process " + pid + ")", "2m0s at most", "kill -9 " + pid + " && make up"} {
		if !strings.Contains(err.Error(), says) {
			t.Errorf("it doesn't say %q: %v", says, err)
		}
	}
	for _, other := range []string{"proxy-1", "node-1"} {
		if strings.Contains(err.Error(), other) {
			t.Errorf("%s is named: %v", other, err)
		}
	}
	if err := records["proxy-0"].Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := d.draining(t.Context(), before); err != nil {
		t.Errorf("it has ended: %v", err)
	}
}
