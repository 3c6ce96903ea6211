package edge

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
)

// signature begins each PROXY header of version 2 (haproxy.org, "The PROXY protocol", section 2.2).
const signature = "\r\n\r\n\x00\r\nQUIT\n"

// maxHeader is what we read of addresses and TLVs. A Network Load Balancer adds some 100 bytes.
const maxHeader = 2 << 10

var errHeader = errors.New("no PROXY v2 header from where one is demanded")

// readHeader takes a header off r, byte for byte, and gives the client's address that it names; a balancer's
// own connection (LOCAL, its health checks) keeps the peer's.
func readHeader(r io.Reader, peer netip.AddrPort) (netip.AddrPort, error) {
	var head [16]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return peer, fmt.Errorf("%w: %w", errHeader, err)
	}
	if string(head[:12]) != signature || head[12]>>4 != 2 {
		return peer, errHeader
	}
	size := int(binary.BigEndian.Uint16(head[14:]))
	if size > maxHeader {
		return peer, fmt.Errorf("%w: it has %d bytes", errHeader, size)
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(r, body); err != nil {
		return peer, fmt.Errorf("%w: %w", errHeader, err)
	}
	switch head[12] & 0xf {
	case 0: // LOCAL
		return peer, nil
	case 1: // PROXY
		return address(head[13], body)
	}
	return peer, fmt.Errorf("%w: unknown command", errHeader)
}

// address reads the source of a TCP connection.
func address(family byte, body []byte) (netip.AddrPort, error) {
	var size int
	switch family {
	case 0x11: // TCP over IPv4
		size = 4
	case 0x21: // TCP over IPv6
		size = 16
	default:
		return netip.AddrPort{}, fmt.Errorf("%w: it is not about TCP", errHeader)
	}
	if len(body) < 2*size+4 {
		return netip.AddrPort{}, fmt.Errorf("%w: its addresses are cut off", errHeader)
	}
	a, _ := netip.AddrFromSlice(body[:size])
	return netip.AddrPortFrom(a.Unmap(), binary.BigEndian.Uint16(body[2*size:])), nil
}
