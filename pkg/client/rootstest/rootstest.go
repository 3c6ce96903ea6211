// Package rootstest tests which root certificates a program knows. Product code does not import it. Its entry point is [Public].
package rootstest

import (
	"crypto/x509"
	"os"
	"os/exec"
	"testing"

	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// Public runs the test that calls it again, in the same program, where the system has no root certificates: the
// program must know the public ones by itself.
func Public(t *testing.T) {
	t.Helper()
	if os.Getenv("SSL_CERT_DIR") != t.Name() {
		again := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.count=1")
		again.Env = []string{"SSL_CERT_FILE=/nonexistent", "SSL_CERT_DIR=" + t.Name()}
		if said, err := again.CombinedOutput(); err != nil {
			t.Fatalf("without root certificates of the system: %v\n%s", err, said)
		}
		return
	}
	verified := 0
	for root := range bundle.Roots() {
		if root.Constraint != nil {
			continue
		}
		c, err := x509.ParseCertificate(root.Certificate)
		if err != nil {
			t.Fatal(err)
		}
		// A root is its own chain, so no certificate below it is needed to see whether it is trusted.
		if _, err := c.Verify(x509.VerifyOptions{KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}, CurrentTime: c.NotBefore}); err != nil {
			t.Fatalf("%s: %v", c.Subject, err)
		}
		verified++
	}
	if verified < 50 {
		t.Errorf("only %d roots are trusted", verified)
	}
}
