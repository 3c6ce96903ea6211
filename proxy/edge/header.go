package edge

import (
	"errors"
	"net"
	"net/netip"

	"github.com/pires/go-proxyproto"
)

var errHeader = errors.New("no PROXY v2 header over TCP from an address that must send one")

// readHeader takes a balancer's header off a connection and gives what follows it, with the client's address that it
// names; a balancer's own connection (LOCAL, its health checks) keeps the peer's. The library bounds its size (4 KiB;
// a Network Load Balancer's has some 100 bytes). Its time is bounded by the caller, who closes raw.
func readHeader(raw net.Conn) (net.Conn, netip.AddrPort, error) {
	peer := address(raw.RemoteAddr())
	c := proxyproto.NewConn(raw, proxyproto.WithPolicy(proxyproto.REQUIRE), proxyproto.SetReadHeaderTimeout(0))
	h := c.ProxyHeader()
	if h == nil || h.Version != 2 { // nil: none, or one that breaks the rules
		return nil, peer, errHeader
	}
	if h.Command.IsLocal() {
		return c, peer, nil
	}
	client, _, ok := h.TCPAddrs()
	if !ok {
		return nil, peer, errHeader
	}
	return c, address(client), nil
}

// address returns the address of a TCP connection; IPv4 comes as IPv4, however it is written.
func address(a net.Addr) netip.AddrPort {
	if a, ok := a.(*net.TCPAddr); ok {
		ap := a.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	return netip.AddrPort{}
}
