package serve

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"testing"
	"time"

	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/joiner"
	"github.com/stile-dev/stile/pkg/recording"
)

func TestNoManifestIsSignedWithACertificateThatHadExpired(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ended := time.Date(2026, 11, 27, 10, 0, 0, 0, time.UTC)
	session, _ := identity.NewSession(rand.Reader, ended)
	m := recording.Manifest{V: 1, Session: session, Started: ended, Ended: ended}
	c := &joiner.Credential{TLS: &tls.Certificate{PrivateKey: key, Certificate: [][]byte{{1}}}, Until: ended}
	if _, err := signAs(c, m); err == nil {
		t.Error("it is signed by who was no agent any more")
	}
	c.Until = ended.Add(time.Second)
	if _, err := signAs(c, m); err != nil {
		t.Error(err)
	}
	if _, err := signAs(nil, m); err == nil {
		t.Error("it is signed without a certificate")
	}
}
