package certs_test

import (
	"bytes"
	"crypto/x509"
	"net/netip"
	"reflect"
	"slices"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/stile-dev/stile/pkg/certs"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
)

// splice puts bytes into good ones in place of some: all of them, when at is 0 and cut is large. Each process of a fuzzer
// has keys of its own, so a corpus of whole certificates would be strange to all but one.
func splice(good []byte, at, cut uint16, with []byte) []byte {
	from := min(int(at), len(good))
	return slices.Concat(good[:from], with, good[min(from+int(cut), len(good)):])
}

func seed(f *testing.F) {
	for _, with := range [][]byte{nil, {0}, {0x30, 0x80}, {0xff, 0xff, 0xff, 0xff}, bytes.Repeat([]byte{0x30, 0x82}, 100)} {
		for _, at := range []uint16{0, 3, 40, 400, 0xffff} {
			f.Add(at, uint16(len(with)), with)
			f.Add(at, uint16(0xffff), with)
		}
	}
}

// FuzzX509 shows certificates that differ somewhere from good ones: nobody comes of what the authority didn't sign.
func FuzzX509(f *testing.F) {
	ca := newKey(f)
	user, host := signX509(f, userTemplate(f, nil), ca)[0], signX509(f, hostTemplate(f, agent()), ca)[0]
	seed(f)
	f.Fuzz(func(t *testing.T, at, cut uint16, with []byte) {
		for kind, good := range map[string][]byte{identity.KindAgent: host, "user": user} {
			der := splice(good, at, cut, with)
			_, err := certs.VerifyX509Host([][]byte{der}, authority(ca), now, kind)
			if kind == "user" {
				_, _, err = certs.VerifyX509User([][]byte{der}, authority(ca), now)
			}
			if err != nil {
				if bytes.Equal(der, good) || fault.From(err).Code == fault.Internal {
					t.Errorf("%s: %v", kind, err)
				}
				continue
			}
			// The signature itself may be spelled in two ways; nothing that it is over may be.
			got, err := x509.ParseCertificate(der)
			want, _ := x509.ParseCertificate(good)
			if err != nil || !bytes.Equal(got.RawTBSCertificate, want.RawTBSCertificate) {
				t.Errorf("%s: taken: %x", kind, der)
			}
		}
	})
}

// FuzzSSH does the same with SSH certificates.
func FuzzSSH(f *testing.F) {
	ca := newKey(f)
	user, host := signSSH(f, userTemplate(f, nil), ca), signSSH(f, hostTemplate(f, agent()), ca)
	seed(f)
	f.Fuzz(func(t *testing.T, at, cut uint16, with []byte) {
		for _, good := range []*ssh.Certificate{user, host} {
			key, err := ssh.ParsePublicKey(splice(good.Marshal(), at, cut, with))
			cert, ok := key.(*ssh.Certificate)
			if err != nil || !ok {
				continue
			}
			_, asUser := certs.VerifySSHUser(cert, authority(ca), certs.SSHUse{Login: "ubuntu", Now: now})
			_, asHost := certs.VerifySSHHost(cert, authority(ca), "node-1.stile", now)
			for _, err := range []error{asUser, asHost} {
				if err != nil && fault.From(err).Code == fault.Internal {
					t.Errorf("no fault: %v", err)
				}
			}
			got, want := *cert, *good
			got.Signature, want.Signature = nil, nil
			if same := reflect.DeepEqual(got, want); !same && (asUser == nil || asHost == nil) {
				t.Errorf("taken: %+v", cert)
			}
			if bytes.Equal(cert.Marshal(), good.Marshal()) && ((asUser == nil) != (good == user) || (asHost == nil) != (good == host)) {
				t.Errorf("as a user: %v; as a host: %v", asUser, asHost)
			}
		}
	})
}

// FuzzKey: a key that somebody asks a certificate for has one spelling, since challenges are bound to its bytes.
func FuzzKey(f *testing.F) {
	good, err := x509.MarshalPKIXPublicKey(newKey(f).Public())
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range [][]byte{good, append(bytes.Clone(good), 0), good[:40], nil} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, spki []byte) {
		key, err := certs.ParseKey(spki)
		if err != nil {
			if !fault.Is(err, fault.BadInput) {
				t.Errorf("%x: %v", spki, err)
			}
			return
		}
		if again, err := x509.MarshalPKIXPublicKey(key); err != nil || !bytes.Equal(again, spki) {
			t.Errorf("%x is written as %x: %v", spki, again, err)
		}
	})
}

// FuzzSourceAddress: what a certificate is pinned to is networks that an address can be in, each in one spelling.
func FuzzSourceAddress(f *testing.F) {
	for _, seed := range []string{"192.0.2.1", "192.0.2.0/24,2001:db8::/32", "::ffff:192.0.2.1", "::ffff:192.0.2.0/120", "fe80::1%eth0", "", ",", "0.0.0.0/0", "192.0.2.1/33"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, list string) {
		networks, err := certs.ParseSourceAddress(list)
		if err != nil {
			return
		}
		for _, p := range networks {
			if !p.IsValid() || p.Addr().Is4In6() || p.Addr().Zone() != "" || !p.Contains(p.Addr()) {
				t.Errorf("%q gives %s", list, p)
			}
			if again, err := certs.ParseSourceAddress(p.String()); err != nil || !slices.Equal(again, []netip.Prefix{p}) {
				t.Errorf("%s of %q is read as %v: %v", p, list, again, err)
			}
		}
	})
}
