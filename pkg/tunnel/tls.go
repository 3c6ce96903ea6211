package tunnel

import (
	"crypto/tls"
	"errors"
	"slices"

	"github.com/stile-dev/stile/pkg/identity"
)

// ServerTLS is the configuration of a proxy's port. certificate is asked at each handshake, so that a renewed one
// shows at once. Any client certificate, or none, is accepted here, with proof of its key: the handler of the protocol verifies it
// and can then say what is wrong with it, which a TLS alert cannot. Sessions are never resumed: a resumed
// one would not look at the certificate again.
func ServerTLS(certificate func() *tls.Certificate, protocols ...string) *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		NextProtos:             protocols,
		ClientAuth:             tls.RequestClientCert,
		SessionTicketsDisabled: true,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			if c := certificate(); c != nil {
				return c, nil
			}
			return nil, errors.New("no certificate yet: the proxy has not joined")
		},
	}
}

// clientTLS speaks one of some protocols, the first that the other side has, with one certificate; verify judges the other side's chain in place of
// names and roots, which a cluster's certificates don't have.
func clientTLS(protocols []string, certificate *tls.Certificate, verify func(tls.ConnectionState) error) *tls.Config {
	config := &tls.Config{
		MinVersion:             tls.VersionTLS13,
		NextProtos:             protocols,
		SessionTicketsDisabled: true,
		InsecureSkipVerify:     true, // verify does it
		VerifyConnection: func(s tls.ConnectionState) error {
			if !slices.Contains(protocols, s.NegotiatedProtocol) {
				return errors.New("the other side does not speak " + protocols[0])
			}
			return verify(s)
		},
	}
	if certificate != nil {
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return certificate, nil
		}
	}
	return config
}

// chain returns the DER certificates that the other side showed, the leaf first.
func chain(s tls.ConnectionState) [][]byte {
	out := make([][]byte, len(s.PeerCertificates))
	for i, c := range s.PeerCertificates {
		out[i] = c.Raw
	}
	return out
}

// asProxy reports which proxy was reached, for callers that hold tunnels to several.
type asProxy func(identity.Host)
