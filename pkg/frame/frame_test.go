package frame_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/frame"
)

func request(name string) *frame.ConnectRequest {
	return &frame.ConnectRequest{Version: frame.Protocol, Target: &frame.Target{Kind: "node", Name: name}, TraceId: "t-1"}
}

func TestReadTakesOneFrameAndLeavesThePayload(t *testing.T) {
	b, err := frame.Append(nil, request("web-1"))
	if err != nil {
		t.Fatal(err)
	}
	r := bytes.NewReader(append(b, "payload"...))
	var got frame.ConnectRequest
	if err := frame.Read(r, &got); err != nil {
		t.Fatal(err)
	}
	if !proto.Equal(&got, request("web-1")) {
		t.Errorf("read %v", &got)
	}
	rest, _ := io.ReadAll(r)
	if string(rest) != "payload" {
		t.Errorf("left %q", rest)
	}
}

func TestReadSaysWhereAStreamEnded(t *testing.T) {
	whole, err := frame.Append(nil, request("web-1"))
	if err != nil {
		t.Fatal(err)
	}
	for n := range whole {
		err := frame.Read(bytes.NewReader(whole[:n]), new(frame.ConnectRequest))
		want := io.ErrUnexpectedEOF
		if n == 0 {
			want = io.EOF
		}
		if !errors.Is(err, want) {
			t.Errorf("after %d bytes: %v, want %v", n, err, want)
		}
	}
}

func TestReadRefusesALargeFrameBeforeReadingIt(t *testing.T) {
	r := bytes.NewReader(append(binary.BigEndian.AppendUint32(nil, frame.Max+1), make([]byte, frame.Max+1)...))
	if err := frame.Read(r, new(frame.ConnectRequest)); !errors.Is(err, frame.ErrTooLarge) {
		t.Fatalf("got %v", err)
	}
	if r.Len() != frame.Max+1 {
		t.Errorf("read %d bytes of a frame that it refused", frame.Max+1-r.Len())
	}
	if err := frame.Write(io.Discard, request(strings.Repeat("x", frame.Max))); !errors.Is(err, frame.ErrTooLarge) {
		t.Errorf("writing: %v", err)
	}
}

func TestAnswerCarriesAFault(t *testing.T) {
	var b bytes.Buffer
	in := fault.New(fault.Denied, "login root isn't allowed", "ask").Because(errors.New("inner secret"))
	in.DecisionID, in.RetryAfter = "dec_1", 3*time.Second
	if err := frame.WriteRefusal(&b, in); err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(b.Bytes(), []byte("inner secret")) {
		t.Error("the cause crossed the wire")
	}
	got := fault.From(frame.ReadAnswer(&b))
	if got.Code != fault.Denied || got.Message != in.Message || got.Hint != "ask" || got.DecisionID != "dec_1" || got.RetryAfter != 3*time.Second {
		t.Errorf("got %+v", got)
	}
	b.Reset()
	if err := frame.WriteOpen(&b); err != nil {
		t.Fatal(err)
	}
	if err := frame.ReadAnswer(&b); err != nil {
		t.Errorf("open: %v", err)
	}
	if err := frame.ReadAnswer(strings.NewReader("SSH-2.0")); !errors.Is(err, frame.ErrMalformed) {
		t.Errorf("other bytes: %v", err)
	}
}

func TestAnUnknownCodeIsInternal(t *testing.T) {
	if got := (&frame.Fault{Code: "from_the_future", Message: "m"}).Err(); got.Code != fault.Internal {
		t.Errorf("got %s", got.Code)
	}
}

func TestBatchesSurviveBeingCut(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		data := bytes.Repeat([]byte{7}, rapid.IntRange(0, 300<<10).Draw(t, "size"))
		var a frame.Assembler
		chunks := frame.Cut(9, data)
		for i, c := range chunks {
			if b, err := frame.Append(nil, &frame.Control{Body: &frame.Control_Chunk{Chunk: c}}); err != nil || len(b) > frame.Max+4 {
				t.Fatalf("chunk %d does not fit a frame: %v", i, err)
			}
			got, done, err := a.Add(c)
			if err != nil || done != (i == len(chunks)-1) {
				t.Fatalf("chunk %d: done %v, %v", i, done, err)
			}
			if done && !bytes.Equal(got, data) {
				t.Fatal("other bytes came out")
			}
		}
	})
}

func TestAssemblerRefusesChunksOutOfTurnAndEndlessBatches(t *testing.T) {
	var a frame.Assembler
	if _, _, err := a.Add(&frame.Chunk{Batch: 1, Index: 1}); !errors.Is(err, frame.ErrMalformed) {
		t.Errorf("a batch that begins in the middle: %v", err)
	}
	data := make([]byte, 60<<10)
	var err error
	for i := uint32(0); err == nil && i < 1000; i++ {
		_, _, err = a.Add(&frame.Chunk{Batch: 1, Index: i, Data: data})
	}
	if !errors.Is(err, frame.ErrTooLarge) {
		t.Errorf("an endless batch: %v", err)
	}
}

func FuzzFrame(f *testing.F) {
	whole, err := frame.Append(nil, request("web-1"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add([]byte{0, 0, 0, 1, 0xff})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff})
	f.Add([]byte{1, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		var c frame.Control
		if frame.Read(bytes.NewReader(b), &c) == nil {
			again, err := frame.Append(nil, &c)
			if err != nil {
				t.Fatalf("what was read cannot be written: %v", err)
			}
			var d frame.Control
			if err := frame.Read(bytes.NewReader(again), &d); err != nil || !proto.Equal(&c, &d) {
				t.Fatalf("round trip: %v", err)
			}
			var a frame.Assembler
			if chunk := c.GetChunk(); chunk != nil {
				_, _, _ = a.Add(chunk)
			}
		}
		_ = frame.ReadAnswer(bytes.NewReader(b))
		_ = frame.Read(bytes.NewReader(b), new(frame.ConnectRequest))
		_ = frame.Read(bytes.NewReader(b), new(frame.Open))
	})
}
