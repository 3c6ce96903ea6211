package main

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"sync"
)

// checked is the header that the last health check sent.
var checked struct {
	sync.Mutex
	header string
}

// echo serves what stands behind a load balancer, and prints where it listens. It reads a version 2 header of the PROXY protocol and answers with a
// line of it in hexadecimal and one of the last health check's; then it gives each line back, and "end" when the client
// has nothing more to say.
func echo(address string) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go serve(c)
	}
}

func serve(c net.Conn) {
	defer c.Close()
	in := bufio.NewReader(c)
	header := make([]byte, 16)
	if _, err := io.ReadFull(in, header); err != nil {
		return
	}
	rest := make([]byte, binary.BigEndian.Uint16(header[14:]))
	if _, err := io.ReadFull(in, rest); err != nil {
		return
	}
	text := hex.EncodeToString(append(header, rest...))
	if header[12] == 0x20 { // LOCAL: the load balancer speaks for itself
		checked.Lock()
		checked.header = text
		checked.Unlock()
	} else {
		checked.Lock()
		fmt.Fprintf(c, "%s\n%s\n", text, checked.header)
		checked.Unlock()
	}
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		fmt.Fprintln(c, lines.Text())
	}
	fmt.Fprintln(c, "end")
}
