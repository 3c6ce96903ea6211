package balance

import (
	"encoding/binary"
	"net/netip"
)

// signature begins every header of version 2 of the PROXY protocol (HAProxy, "The PROXY protocol", 2.2).
const signature = "\r\n\r\n\x00\r\nQUIT\n"

// Version and command, family and transport (2.2).
const (
	commandLocal = 0x20
	commandProxy = 0x21
	familyTCP4   = 0x11
	familyTCP6   = 0x21
)

// ProxyHeader is the version 2 header that tells a target who connected to whom. Addresses of different
// families are both written as IPv6.
func ProxyHeader(source, destination netip.AddrPort) []byte {
	src, dst := source.Addr().Unmap(), destination.Addr().Unmap()
	family := byte(familyTCP4)
	if !src.Is4() || !dst.Is4() {
		family = familyTCP6
	}
	var addresses []byte
	for _, addr := range []netip.Addr{src, dst} {
		if family == familyTCP4 {
			addresses = append(addresses, addr.AsSlice()...)
		} else {
			wide := addr.As16()
			addresses = append(addresses, wide[:]...)
		}
	}
	addresses = binary.BigEndian.AppendUint16(addresses, source.Port())
	addresses = binary.BigEndian.AppendUint16(addresses, destination.Port())
	header := append([]byte(signature), commandProxy, family)
	header = binary.BigEndian.AppendUint16(header, uint16(len(addresses)))
	return append(header, addresses...)
}

// checkBody is how many bytes follow the header of a health check. An NLB's hold nothing that a target may use.
const checkBody = 84

// LocalHeader is what a health check sends: a connection made by the balancer itself. As an NLB's it claims to
// hold addresses, and a target has to skip them (2.2, command LOCAL).
func LocalHeader() []byte {
	header := append([]byte(signature), commandLocal, familyTCP4, 0, checkBody)
	return append(header, make([]byte, checkBody)...)
}
