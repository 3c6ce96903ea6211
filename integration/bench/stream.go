package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/stile-dev/stile/integration/proc"
)

// volume is how much goes one way to measure throughput, in MiB.
const volume = 192

// streams measures what passes on an open connection.
func streams(ctx context.Context, s *system, w ways, rounds int) ([]row, error) {
	rows, err := echoes(ctx, w, rounds)
	if err != nil {
		return nil, err
	}
	load := filepath.Join(s.State, "zeros") // without blocks on the disk
	if err := os.WriteFile(load, nil, 0o600); err != nil {
		return nil, err
	}
	if err := os.Truncate(load, volume<<20); err != nil {
		return nil, err
	}
	var proxy sample
	down, err := w.compare("throughput down", "MiB/s", rounds, func(one *way) (float64, error) {
		before, _ := proc.CPUOf(max(one.aside, 1))
		rate, err := transfer(ctx, one, fmt.Sprintf("head -c %d /dev/zero", volume<<20), os.DevNull)
		if after, _ := proc.CPUOf(max(one.aside, 1)); one.aside != 0 {
			proxy = append(proxy, (after-before)*1024/volume)
		}
		return rate, err
	})
	if err != nil {
		return nil, err
	}
	down.budget, down.directThen, down.more = 300, 440, true
	up, err := w.compare("throughput up", "MiB/s", rounds, func(one *way) (float64, error) { return transfer(ctx, one, "cat >/dev/null", load) })
	if err != nil {
		return nil, err
	}
	up.more = true
	far, err := distant(ctx, s)
	if err != nil {
		return nil, err
	}
	return append(rows, down, row{what: "CPU at the proxy", unit: "s/GiB", stile: proxy, budget: 1.2}, up, far), nil
}

// echoes types into a terminal by each way in turn.
func echoes(ctx context.Context, w ways, rounds int) ([]row, error) {
	var all [4]*terminal
	for i, one := range w.all() {
		c, err := one.dial(ctx)
		if err != nil {
			return nil, err
		}
		defer c.Close()
		if all[i], err = openTerminal(c, "printf ready; exec cat >/dev/null", "ready"); err != nil {
			return nil, fmt.Errorf("%s: %w", one.name, err)
		}
	}
	var took [4]sample
	for range 4 * rounds {
		for i, t := range all {
			for n := range 60 {
				d, err := t.echo()
				if err != nil {
					return nil, err
				}
				if n >= 10 {
					took[i] = append(took[i], ms(d))
				}
				if n%20 == 19 { // a line holds 4096 bytes
					if _, err := t.in.Write([]byte{0x15}); err != nil { // kill the line; it shows as \b \b for each byte
						return nil, err
					}
					if _, err := io.CopyN(io.Discard, t.out, 20*3); err != nil {
						return nil, err
					}
				}
			}
		}
	}
	p50 := row{what: "echo of a byte in a pty, p50", unit: "ms", budget: 0.35, directThen: 0.24, direct: took[0], jump: took[1], floor: took[2], stile: took[3]}
	p99 := row{what: "echo of a byte in a pty, p99", unit: "ms", budget: 1, directThen: 1}
	for i, to := range []*sample{&p99.direct, &p99.jump, &p99.floor, &p99.stile} {
		*to = sample{took[i].quantile(0.99)}
	}
	return []row{p50, p99}, nil
}

// transfer runs a whole process that moves volume, and returns its MiB per second: the time that it would take for the command
// true is subtracted.
func transfer(ctx context.Context, w *way, command, in string) (float64, error) {
	input, err := os.Open(in)
	if err != nil {
		return 0, err
	}
	defer input.Close()
	return transferred(ctx, w, command, input, nil, volume)
}

// transferred is transfer of size MiB; what the process reads and where its errors go are the caller's.
func transferred(ctx context.Context, w *way, command string, in io.Reader, errs io.Writer, size float64) (float64, error) {
	sink, err := null()
	if err != nil {
		return 0, err
	}
	defer sink.Close()
	empty, err := whole(w.command(ctx, "true"))
	if err != nil {
		return 0, err
	}
	cmd := w.command(ctx, command)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, sink, errs
	d, err := whole(cmd)
	return size / (d - empty).Seconds(), err
}

// distant measures one stream down with 100 ms of round trip between client and proxy.
func distant(ctx context.Context, s *system) (row, error) {
	const size = 64 << 20
	c, err := s.dial(ctx, func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return delay(conn, 50*time.Millisecond), nil
	})
	if err != nil {
		return row{}, err
	}
	defer c.Close()
	session, err := c.NewSession()
	if err != nil {
		return row{}, err
	}
	out, err := session.StdoutPipe()
	if err != nil {
		return row{}, err
	}
	began := time.Now()
	if err := session.Start(fmt.Sprintf("head -c %d /dev/zero", size)); err != nil {
		return row{}, err
	}
	n, err := io.Copy(io.Discard, out)
	if n != size {
		return row{}, fmt.Errorf("%d of %d bytes came: %w", n, size, err)
	}
	rate := size / 1e6 / time.Since(began).Seconds()
	return row{what: "one stream at 100 ms of round trip", unit: "MB/s", stile: sample{rate}, budget: 120, more: true}, nil
}

// delay gives the near end of a connection whose bytes take the time given in each direction, however many are on
// their way.
func delay(conn net.Conn, d time.Duration) net.Conn {
	near, far := net.Pipe()
	go late(conn, far, d)
	go late(far, conn, d)
	return near
}

func late(dst, src net.Conn, d time.Duration) {
	type piece struct {
		due  time.Time
		data []byte
	}
	line := make(chan piece, 64<<10)
	go func() {
		defer close(line)
		for {
			b := make([]byte, 32<<10)
			n, err := src.Read(b)
			if n > 0 {
				line <- piece{time.Now().Add(d), b[:n]}
			}
			if err != nil {
				return
			}
		}
	}()
	for p := range line {
		time.Sleep(time.Until(p.due))
		if _, err := dst.Write(p.data); err != nil {
			break
		}
	}
	_ = dst.Close()
	for range line { // until the source has noticed
	}
}
