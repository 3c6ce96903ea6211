package certs_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/stile-dev/stile/pkg/certs"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/names"
)

// One failing case for each rule: a template that is good but for one thing, and the reason that is given.
func TestEachLintRuleRefuses(t *testing.T) {
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		host   bool
		spoil  func(*certs.Template)
		reason string
	}{
		"SSH type":                 {false, func(x *certs.Template) { x.SSH.CertType = 3 }, "neither for a user nor for a host"},
		"SSH key kind":             {false, func(x *certs.Template) { x.SSH.Key = sshKey(t, &p384.PublicKey) }, "only ECDSA on P-256"},
		"no principals":            {false, func(x *certs.Template) { x.SSH.ValidPrincipals = nil }, "no principals"},
		"a principal twice":        {false, func(x *certs.Template) { x.SSH.ValidPrincipals = []string{"a", "b", "a"} }, "appears twice"},
		"a foreign host principal": {true, func(x *certs.Template) { x.SSH.ValidPrincipals = append(x.SSH.ValidPrincipals, "node-2") }, "not the agent's id and nodes"},
		"a node's name in another cluster": {true, func(x *certs.Template) {
			x.SSH.ValidPrincipals = append(slices.Clone(x.SSH.ValidPrincipals[:len(x.SSH.ValidPrincipals)-1]), "node-1.other")
		}, "not the agent's id and nodes"},
		"a principal that is no node":  {true, func(x *certs.Template) { x.SSH.ValidPrincipals = append(x.SSH.ValidPrincipals, "orders") }, "not the agent's id and nodes"},
		"a host principal too few":     {true, func(x *certs.Template) { x.SSH.ValidPrincipals = x.SSH.ValidPrincipals[:1] }, "not the agent's id and nodes"},
		"SSH certificate without end":  {false, func(x *certs.Template) { x.SSH.ValidBefore = ssh.CertTimeInfinity }, "no end"},
		"SSH end before beginning":     {false, func(x *certs.Template) { x.SSH.ValidBefore = x.SSH.ValidAfter }, "ends before it begins"},
		"SSH user life too long":       {false, func(x *certs.Template) { x.SSH.ValidBefore = x.SSH.ValidAfter + 13*3600 }, "12h0m0s are allowed"},
		"SSH host life too long":       {true, func(x *certs.Template) { x.SSH.ValidBefore = x.SSH.ValidAfter + 25*3600 }, "24h0m0s are allowed"},
		"an unknown critical option":   {false, func(x *certs.Template) { x.SSH.CriticalOptions = map[string]string{"force-command": "x"} }, "is not known"},
		"a malformed source address":   {false, func(x *certs.Template) { x.SSH.CriticalOptions = map[string]string{"source-address": "here"} }, "source address is malformed"},
		"a critical option on a host":  {true, func(x *certs.Template) { x.SSH.CriticalOptions = map[string]string{"source-address": "192.0.2.1"} }, "is not known"},
		"an unknown extension":         {false, func(x *certs.Template) { x.SSH.Extensions["permit-X11-forwarding"] = "" }, "is not known"},
		"an agent that is forwarded":   {false, func(x *certs.Template) { x.SSH.Extensions["permit-agent-forwarding"] = "" }, "is not known"},
		"ports that are forwarded":     {false, func(x *certs.Template) { x.SSH.Extensions["permit-port-forwarding"] = "" }, "is not known"},
		"a pty for a host":             {true, func(x *certs.Template) { x.SSH.Extensions["permit-pty"] = "" }, "is not known"},
		"no SSH identity":              {false, func(x *certs.Template) { delete(x.SSH.Extensions, names.SSHIdentity) }, "identity"},
		"another SSH certificate id":   {false, func(x *certs.Template) { x.SSH.KeyId = "crt_other" }, "is not the identity's"},
		"TLS key kind":                 {false, func(x *certs.Template) { x.TLSKey = &p384.PublicKey }, "TLS key is of the wrong kind"},
		"a CA":                         {false, func(x *certs.Template) { x.X509.IsCA = true }, "could sign others"},
		"no basic constraints":         {false, func(x *certs.Template) { x.X509.BasicConstraintsValid = false }, "could sign others"},
		"key usage":                    {false, func(x *certs.Template) { x.X509.KeyUsage |= x509.KeyUsageCertSign }, "digital signature alone"},
		"no extended key usage":        {false, func(x *certs.Template) { x.X509.ExtKeyUsage = nil }, "neither a user's nor a host's"},
		"a foreign extended key usage": {false, func(x *certs.Template) { x.X509.ExtKeyUsage = append(x.X509.ExtKeyUsage, x509.ExtKeyUsageCodeSigning) }, "neither a user's nor a host's"},
		"a small serial":               {false, func(x *certs.Template) { x.X509.SerialNumber = big.NewInt(7) }, "not 128 random bits"},
		"X.509 end before beginning":   {false, func(x *certs.Template) { x.X509.NotAfter = x.X509.NotBefore.Add(-time.Second) }, "ends before it begins"},
		"X.509 life too long":          {false, func(x *certs.Template) { x.X509.NotAfter = x.X509.NotBefore.Add(13 * time.Hour) }, "12h0m0s are allowed"},
		"a DNS name":                   {true, func(x *certs.Template) { x.X509.DNSNames = []string{"node-1"} }, "exactly one name"},
		"no URI":                       {false, func(x *certs.Template) { x.X509.URIs = nil }, "exactly one name"},
		"another's URI": {false, func(x *certs.Template) {
			x.X509.URIs = []*url.URL{{Scheme: "spiffe", Host: cluster, Path: "/user/bob"}}
		}, "is not the identity's"},
		"no X.509 identity":           {false, func(x *certs.Template) { x.X509.ExtraExtensions = nil }, "has no identity"},
		"an X.509 identity in pieces": {false, func(x *certs.Template) { x.X509.ExtraExtensions[0].Value = []byte{1} }, "malformed"},
		"a critical extension": {false, func(x *certs.Template) {
			x.X509.ExtraExtensions = append(x.X509.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{1, 2, 3}, Critical: true, Value: []byte{5, 0}})
		}, "critical extension"},
		"one key for both": {false, func(x *certs.Template) { x.SSH.Key = sshKey(t, x.TLSKey) }, "are the same"},
		"two times":        {false, func(x *certs.Template) { x.SSH.ValidBefore -= 60 }, "valid at different times"},
		"a host's identity on a user": {false, func(x *certs.Template) {
			x.X509.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
		}, "the identity's kind is missing"},
	} {
		t.Run(name, func(t *testing.T) {
			template := userTemplate(t, nil)
			if c.host {
				template = hostTemplate(t, agent())
			}
			if _, err := template.Lint(); err != nil {
				t.Fatalf("the template is not good to begin with: %v", err)
			}
			c.spoil(&template)
			linted, err := template.Lint()
			f := fault.From(err)
			if f == nil {
				t.Fatal("nothing was found")
			}
			refusesToSign(t, linted)
			if f.Code != fault.BadInput || !slices.ContainsFunc(f.Fields, func(x fault.Field) bool { return strings.Contains(x.Reason, c.reason) }) {
				t.Errorf("%s: %s %v", f.Code, f.Message, f.Fields)
			}
		})
	}
}

func sshKey(t *testing.T, pub *ecdsa.PublicKey) ssh.PublicKey {
	t.Helper()
	k, err := ssh.NewPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestSec_S05_PrincipalsThatVerifiersReadDifferentlyAreNeverSigned(t *testing.T) {
	for name, principal := range map[string]string{
		"comma": "deploy,root", "space": "deploy root", "tab": "deploy\troot", "newline": "deploy\nroot", "NUL": "root\x00", "control": "root\x1b",
		"asterisk": "*", "asterisk inside": "ro*t", "question mark": "roo?", "at": "root@host", "leading at": "@root", "empty": "",
		"leading hyphen": "-oProxyCommand=x", "slash": "a/b", "backslash": `dom\user`, "colon": "a:b", "quote": `a"b`, "exclamation mark": "!root",
		"non-ASCII": "röot", "invalid UTF-8": "ro\xffot", "65 bytes": strings.Repeat("a", 65), "dot": ".", "braces": "{{x}}",
	} {
		t.Run(name, func(t *testing.T) {
			template := userTemplate(t, func(r *certs.UserRequest) { r.Logins = []string{"ubuntu", principal} })
			if _, err := template.Lint(); !fault.Is(err, fault.BadInput) {
				t.Errorf("%q passed: %v", principal, err)
			}
		})
	}
	template := userTemplate(t, func(r *certs.UserRequest) {
		r.Logins = []string{strings.Repeat("a", 64), "_svc", "a.b", "HOST$", "c-d", "e+f"}
	})
	lint(t, template)
}

func TestSec_S06_NobodyIsNeverSigned(t *testing.T) {
	for _, logins := range [][]string{nil, {}} {
		template := userTemplate(t, func(r *certs.UserRequest) { r.Logins = logins })
		if _, err := template.Lint(); !fault.Is(err, fault.BadInput) {
			t.Errorf("%v passed: %v", logins, err)
		}
	}
}

func TestAnIdentityThatIsTooLargeNamesItsLargestTrait(t *testing.T) {
	who := alice()
	for i := range 300 {
		who.Traits["groups"] = append(who.Traits["groups"], fmt.Sprintf("group-%05d", i))
	}
	_, err := certs.UserTemplate(certs.UserRequest{
		Identity: who, SSHKey: &newKey(t).PublicKey, TLSKey: &newKey(t).PublicKey,
		Logins: []string{"a"}, From: now, Until: now.Add(time.Hour), Entropy: rand.Reader,
	})
	if f := fault.From(err); f == nil || f.Code != fault.TooLarge || !strings.Contains(f.Message, "trait groups") {
		t.Errorf("%v", err)
	}
	if _, err := (identity.Host{}).Marshal(); !fault.Is(err, fault.BadInput) {
		t.Errorf("an empty identity was written: %v", err)
	}
}
