package frame_test

import (
	"bytes"
	"testing"

	"github.com/stile-dev/stile/pkg/frame"
)

func BenchmarkConnectRequest(b *testing.B) {
	m := request("web-1")
	var got frame.ConnectRequest
	b.ReportAllocs()
	for b.Loop() {
		out, err := frame.Append(nil, m)
		if err != nil {
			b.Fatal(err)
		}
		if err := frame.Read(bytes.NewReader(out), &got); err != nil {
			b.Fatal(err)
		}
	}
}
