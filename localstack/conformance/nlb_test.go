package conformance_test

import (
	"bufio"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/stile-dev/stile/localstack/balance"
)

// balancer brings the local load balancer up before one server.
func (l *local) balancer(t *testing.T) string {
	t.Helper()
	server := exec.CommandContext(t.Context(), filepath.Join(l.dir, "bin", "functions", "conformance"), "echo", "127.0.0.1:0")
	server.Stderr = os.Stderr
	out, err := server.StdoutPipe()
	if err == nil {
		err = server.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Wait() }) // the test's context has ended it
	target, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address, path := free.Addr().String(), filepath.Join(t.TempDir(), "balancer.json")
	layout := balance.Layout{Listeners: []balance.Listener{{Listen: address, Targets: []string{strings.TrimSpace(target)}, ProxyProtocol: true}}}
	if err := errors.Join(free.Close(), layout.Write(path)); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- balance.Run(t.Context(), path, slog.New(slog.DiscardHandler)) }()
	t.Cleanup(func() {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return address
}

// balancer makes a load balancer, a network and a server of the account's.
func (r *remote) balancer(t *testing.T) string {
	t.Helper()
	program := &s3.GetObjectInput{Bucket: &here.Bucket, Key: aws.String(programKey)}
	signed, err := s3.NewPresignClient(r.s3()).PresignGetObject(t.Context(), program, s3.WithPresignExpires(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	outputs, err := r.Deploy(t.Context(), "nlb", map[string]string{"Prefix": r.prefix, "ProgramURL": signed.URL})
	if err != nil {
		t.Fatal(err)
	}
	return outputs["Address"]
}

// through is a connection through a load balancer, after the server's greeting.
type through struct {
	*net.TCPConn
	in             *bufio.Reader
	proxy, checked []byte // the headers of the connection and of the last health check
}

func (c *through) line() (string, error) {
	line, err := c.in.ReadString('\n')
	return strings.TrimSpace(line), err
}

func connect(ctx context.Context, address string) (*through, error) {
	conn, err := (&net.Dialer{Timeout: 10 * time.Second}).DialContext(ctx, "tcp4", address)
	if err != nil {
		return nil, err
	}
	c := &through{TCPConn: conn.(*net.TCPConn), in: bufio.NewReader(conn)}
	for _, header := range []*[]byte{&c.proxy, &c.checked} {
		err = c.SetReadDeadline(time.Now().Add(10 * time.Second))
		var line string
		if err == nil {
			line, err = c.line()
		}
		if err == nil {
			*header, err = hex.DecodeString(line)
		}
		if err != nil {
			return nil, errors.Join(err, c.Close())
		}
	}
	return c, c.SetReadDeadline(time.Time{})
}

// headed describes a header of the PROXY protocol, version 2.
func headed(header []byte) string {
	if len(header) < 16 || string(header[:12]) != "\r\n\r\n\x00\r\nQUIT\n" {
		return fmt.Sprintf("no header: %x", header)
	}
	text := fmt.Sprintf("version and command %#x, family %#x", header[12], header[13])
	if header[12] == 0x20 {
		return text + fmt.Sprintf(", %d bytes behind it", len(header)-16)
	}
	source, _ := netip.AddrFromSlice(header[16:20])
	return text + ", from " + source.String()
}

func TestTheLoadBalancer(t *testing.T) {
	if onAWS() && !flags.nlb {
		return // make conformance ENDPOINT=aws NLB=1 observes it
	}
	address := here.Balancer(t)
	var c *through
	await(t, 10*time.Minute, "the load balancer", func(ctx context.Context) (done bool, err error) {
		if c != nil {
			_ = c.Close()
		}
		c, err = connect(ctx, address)
		return err == nil && len(c.checked) > 0, err
	})
	defer func() { _ = c.Close() }()
	identity, _ := told(t, request("GET", "/v1/plain")).RequestContext["identity"].(map[string]any)
	mine := fmt.Sprint(identity["sourceIp"])
	saw(t, "nlb/proxy/header", strings.Replace(headed(c.proxy), "from "+mine, "from the client", 1),
		"version and command 0x21, family 0x11, from the client")
	saw(t, "nlb/proxy/health-check", headed(c.checked), "version and command 0x20, family 0x11, 84 bytes behind it")
	if err := c.SetDeadline(time.Now().Add(callLimit)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, "hello\n"); err != nil {
		t.Fatal(err)
	}
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(c.in)
	saw(t, "nlb/half-close", fmt.Sprintf("%q %v", rest, err), `"hello\nend\n" <nil>`)
	if absent(t, "nlb/idle") {
		return
	}
	idle(t, address)
}

// idle lets a connection stand for longer than the load balancer keeps it.
func idle(t *testing.T, address string) {
	t.Helper()
	c, err := connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if err := c.SetKeepAlive(false); err != nil {
		t.Fatal(err)
	}
	if err := c.SetReadDeadline(time.Now().Add(380 * time.Second)); err != nil {
		t.Fatal(err)
	}
	_, err = c.line()
	silent := errors.Is(err, os.ErrDeadlineExceeded)
	_, _ = io.WriteString(c, "hello\n") // the reading says how it went
	if err := c.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	_, err = c.line()
	saw(t, "nlb/idle", fmt.Sprintf("told when it was cut: %v, lost: %v", !silent, err != nil),
		"told when it was cut: false, lost: true")
}
