package proof_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/google/go-cmp/cmp"

	"github.com/stile-dev/stile/pkg/certs"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/proof"
	"github.com/stile-dev/stile/pkg/prover"
	"github.com/stile-dev/stile/pkg/resource"
	"github.com/stile-dev/stile/pkg/wire"
)

var (
	now     = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	binding = proof.Binding{Challenge: "c.m", Purpose: "login", Cluster: "0b5f9f1e", Keys: strings.Repeat("k", 43)}
)

// signed is what evidence makes of the binding.
func signed(t testing.TB, region, token string) wire.STSRequest {
	t.Helper()
	r, err := prover.IAM(t.Context(), aws.Config{
		Region: region, Credentials: credentials.NewStaticCredentialsProvider("ASIAEXAMPLEEXAMPLE12", "secret", token),
	}, prover.Request{Challenge: binding.Challenge, Purpose: binding.Purpose, Cluster: binding.Cluster, Keys: binding.Keys, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestTheRequestIsRebuiltFromTheTableForEveryPartition(t *testing.T) {
	for region, want := range map[string]proof.Request{
		"eu-central-1":  {Host: "sts.eu-central-1.amazonaws.com", Partition: "aws"},
		"cn-north-1":    {Host: "sts.cn-north-1.amazonaws.com.cn", Partition: "aws-cn"},
		"us-gov-west-1": {Host: "sts.us-gov-west-1.amazonaws.com", Partition: "aws-us-gov"},
	} {
		for _, token := range []string{"", "session+token/with=chars"} {
			sent := signed(t, region, token)
			got, err := proof.Rebuild(sent, binding, now)
			if err != nil {
				t.Fatal(err)
			}
			header := http.Header{}
			for _, h := range got.Headers {
				if header.Get(h.Name) != "" {
					t.Errorf("%s stands twice", h.Name)
				}
				header.Set(h.Name, h.Value)
			}
			if got.Host != want.Host || got.Partition != want.Partition || header.Get("Authorization") != sent.Authorization ||
				header.Get("X-Stile-Challenge") != binding.Challenge || header.Get("X-Amz-Security-Token") != token {
				t.Errorf("%s: %+v", region, got)
			}
		}
	}
}

// The corpus of CVE-2020-16250: whatever the sender shapes, host, action, body and headers are ours.
func TestSec_S19_NothingOfTheRequestIsTheSendersToShape(t *testing.T) {
	good := signed(t, "eu-central-1", "token")
	for name, change := range map[string]func(*wire.STSRequest){
		"another host":            func(r *wire.STSRequest) { r.Host = "attacker.example" },
		"a host with a port":      func(r *wire.STSRequest) { r.Host += ":8443" },
		"the global host":         func(r *wire.STSRequest) { r.Host = "sts.amazonaws.com" },
		"the host in upper case":  func(r *wire.STSRequest) { r.Host = strings.ToUpper(r.Host) },
		"a region that is a host": func(r *wire.STSRequest) { r.Region, r.Host = "eu-central-1.attacker.example/", "" },
		"another region":          func(r *wire.STSRequest) { r.Region, r.Host = "us-east-1", "" },
		"a region of no STS":      func(r *wire.STSRequest) { r.Region = "mars-north-1" },
		"no region":               func(r *wire.STSRequest) { r.Region = "" },
		"another service":         func(r *wire.STSRequest) { r.Authorization = strings.Replace(r.Authorization, "/sts/", "/iam/", 1) },
		"another terminator": func(r *wire.STSRequest) {
			r.Authorization = strings.Replace(r.Authorization, "aws4_request", "aws4a_request", 1)
		},
		"another algorithm": func(r *wire.STSRequest) {
			r.Authorization = strings.Replace(r.Authorization, "AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256", 1)
		},
		"another day": func(r *wire.STSRequest) {
			r.Authorization = strings.Replace(r.Authorization, "/20261120/", "/20261119/", 1)
		},
		"a header injected":         func(r *wire.STSRequest) { r.SecurityToken += "\r\nX-Evil: 1" },
		"a header in authorization": func(r *wire.STSRequest) { r.Authorization += "\r\nHost: attacker.example" },
		"a date with more":          func(r *wire.STSRequest) { r.AmzDate += "\nX: y" },
		"a date too old":            func(r *wire.STSRequest) { r.AmzDate = "20261120T110000Z" },
		"another header signed": func(r *wire.STSRequest) {
			r.Authorization = strings.Replace(r.Authorization, "x-amz-date;", "x-amz-date;x-amz-evil;", 1)
		},
		"accept not signed": func(r *wire.STSRequest) { r.Authorization = strings.Replace(r.Authorization, "accept;", "", 1) },
		"host not signed":   func(r *wire.STSRequest) { r.Authorization = strings.Replace(r.Authorization, "host;", "", 1) },
		"date not signed":   func(r *wire.STSRequest) { r.Authorization = strings.Replace(r.Authorization, "x-amz-date;", "", 1) },
		"token not signed": func(r *wire.STSRequest) {
			r.Authorization = strings.Replace(r.Authorization, "x-amz-security-token;", "", 1)
		},
		"token signed but not sent": func(r *wire.STSRequest) { r.SecurityToken = "" },
		"a signature too short":     func(r *wire.STSRequest) { r.Authorization = r.Authorization[:len(r.Authorization)-1] },
		"nothing at all":            func(r *wire.STSRequest) { *r = wire.STSRequest{} },
	} {
		t.Run(name, func(t *testing.T) {
			bad := good
			change(&bad)
			if cmp.Equal(bad, good) {
				t.Fatal("the change changes nothing")
			}
			if got, err := proof.Rebuild(bad, binding, now); err == nil {
				t.Errorf("rebuilt %+v", got)
			} else if fault.From(err).Code == fault.Internal {
				t.Errorf("no fault: %v", err)
			}
		})
	}
	if _, err := proof.Rebuild(good, binding, now); err != nil {
		t.Errorf("the good one: %v", err)
	}
}

func TestSec_S20_NothingMayStandTwiceInWhateverCase(t *testing.T) {
	good := signed(t, "eu-central-1", "token")
	for name, authorization := range map[string]string{
		"a signed header":         strings.Replace(good.Authorization, "host;", "host;host;", 1),
		"a header in other case":  strings.Replace(good.Authorization, "host;", "Host;host;", 1),
		"headers out of order":    strings.Replace(good.Authorization, "accept;content-length", "content-length;accept", 1),
		"the credential":          strings.Replace(good.Authorization, "SignedHeaders=", "Credential=AKIAOTHEROTHEROTHER1/20261120/eu-central-1/sts/aws4_request, SignedHeaders=", 1),
		"the signature":           good.Authorization + ", Signature=" + strings.Repeat("0", 64),
		"the list of headers":     strings.Replace(good.Authorization, ", Signature", ", SignedHeaders=host, Signature", 1),
		"parameters out of order": "AWS4-HMAC-SHA256 Signature=" + strings.Repeat("0", 64) + strings.TrimPrefix(strings.SplitN(good.Authorization, ", Signature", 2)[0], "AWS4-HMAC-SHA256"),
		"two authorizations":      good.Authorization + ", " + good.Authorization,
	} {
		t.Run(name, func(t *testing.T) {
			bad := good
			bad.Authorization = authorization
			if bad == good {
				t.Fatal("the change changes nothing")
			}
			if got, err := proof.Rebuild(bad, binding, now); err == nil {
				t.Errorf("rebuilt %+v", got)
			}
		})
	}
}

func TestSec_S22_OnlyARolesSessionIsACaller(t *testing.T) {
	const account = "111122223333"
	for name, c := range map[string]struct {
		account, arn, id string
		want             resource.IAMIdentity
	}{
		"a role": {
			account, "arn:aws:sts::111122223333:assumed-role/R/s.1", "AROAEXAMPLEEXAMPLE12:s.1",
			resource.IAMIdentity{Partition: "aws", Account: account, Role: "R", RoleID: "AROAEXAMPLEEXAMPLE12", Session: "s.1"},
		},
		"a role in China": {
			account, "arn:aws-cn:sts::111122223333:assumed-role/R/s1", "AROAEXAMPLEEXAMPLE12:s1",
			resource.IAMIdentity{Partition: "aws-cn", Account: account, Role: "R", RoleID: "AROAEXAMPLEEXAMPLE12", Session: "s1"},
		},
		"a role in GovCloud": {
			account, "arn:aws-us-gov:sts::111122223333:assumed-role/R/s1", "AROAEXAMPLEEXAMPLE12:s1",
			resource.IAMIdentity{Partition: "aws-us-gov", Account: account, Role: "R", RoleID: "AROAEXAMPLEEXAMPLE12", Session: "s1"},
		},
		"a user whose path looks like a role": {account, "arn:aws:iam::111122223333:user/assumed-role/R/s1", "AIDAEXAMPLEEXAMPLE12", resource.IAMIdentity{}},
		"a user":                              {account, "arn:aws:iam::111122223333:user/bob", "AIDAEXAMPLEEXAMPLE12", resource.IAMIdentity{}},
		"a role itself":                       {account, "arn:aws:iam::111122223333:role/assumed-role/R", "AROAEXAMPLEEXAMPLE12", resource.IAMIdentity{}},
		"root":                                {account, "arn:aws:iam::111122223333:root", account, resource.IAMIdentity{}},
		"a federated user":                    {account, "arn:aws:sts::111122223333:federated-user/assumed-role", account + ":assumed-role", resource.IAMIdentity{}},
		"a federated user with a path":        {account, "arn:aws:sts::111122223333:federated-user/assumed-role/R", account + ":assumed-role/R", resource.IAMIdentity{}},
		"a slash in the session":              {account, "arn:aws:sts::111122223333:assumed-role/R/s/1", "AROAEXAMPLEEXAMPLE12:s/1", resource.IAMIdentity{}},
		"a path before the role":              {account, "arn:aws:sts::111122223333:assumed-role/path/R/s1", "AROAEXAMPLEEXAMPLE12:s1", resource.IAMIdentity{}},
		"no session":                          {account, "arn:aws:sts::111122223333:assumed-role/R/", "AROAEXAMPLEEXAMPLE12:", resource.IAMIdentity{}},
		"no role":                             {account, "arn:aws:sts::111122223333:assumed-role//s1", "AROAEXAMPLEEXAMPLE12:s1", resource.IAMIdentity{}},
		"another session in the user id":      {account, "arn:aws:sts::111122223333:assumed-role/R/s1", "AROAEXAMPLEEXAMPLE12:s2", resource.IAMIdentity{}},
		"another account beside":              {"999999999999", "arn:aws:sts::111122223333:assumed-role/R/s1", "AROAEXAMPLEEXAMPLE12:s1", resource.IAMIdentity{}},
		"a user's id":                         {account, "arn:aws:sts::111122223333:assumed-role/R/s1", "AIDAEXAMPLEEXAMPLE12:s1", resource.IAMIdentity{}},
		"a Region in the ARN":                 {account, "arn:aws:sts:us-east-1:111122223333:assumed-role/R/s1", "AROAEXAMPLEEXAMPLE12:s1", resource.IAMIdentity{}},
		"a colon too many":                    {account, "arn:aws:sts::111122223333:assumed-role/R/s1:x", "AROAEXAMPLEEXAMPLE12:s1:x", resource.IAMIdentity{}},
		"a partition of its own":              {account, "arn:evil:sts::111122223333:assumed-role/R/s1", "AROAEXAMPLEEXAMPLE12:s1", resource.IAMIdentity{}},
		"an account with letters":             {"11112222333x", "arn:aws:sts::11112222333x:assumed-role/R/s1", "AROAEXAMPLEEXAMPLE12:s1", resource.IAMIdentity{}},
		"no ARN":                              {account, "", "AROAEXAMPLEEXAMPLE12:s1", resource.IAMIdentity{}},
		"not an ARN":                          {account, "assumed-role/R/s1", "AROAEXAMPLEEXAMPLE12:s1", resource.IAMIdentity{}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := proof.ParseCaller(c.account, c.arn, c.id)
			if d := cmp.Diff(c.want, got); d != "" {
				t.Error(d)
			}
			if (err == nil) != (c.want != resource.IAMIdentity{}) {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestAChallengeComesBackAsItWasMade(t *testing.T) {
	ch, err := proof.NewChallenge("login", "0b5f9f1e", strings.Repeat("k", 43), now, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	text, err := ch.Text()
	if err != nil {
		t.Fatal(err)
	}
	s := proof.Join(text, make([]byte, 32))
	o, err := proof.Open(s)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(ch, o.Challenge); d != "" {
		t.Error(d)
	}
	for _, bad := range []string{"", ".", text, text + ".", s + "A", s + ".", "." + s, text + ".AAAA", strings.Repeat("A", 2000) + "." + s, s[1:]} {
		if _, err := proof.Open(bad); err == nil {
			t.Errorf("%.40q was opened", bad)
		}
	}
	if _, err := proof.NewChallenge("login", "0b5f9f1e", "short", now, rand.Reader); err == nil {
		t.Error("a challenge for a hash that is none")
	}
}

// A challenge is good for what it was made for, and for a minute.
func TestAChallengeIsGoodForWhatItWasMadeFor(t *testing.T) {
	spki := func() []byte {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	ssh, tls := spki(), spki()
	ch, err := proof.NewChallenge("login", "0b5f9f1e", certs.KeysHash(ssh, tls), now, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	text, err := ch.Text()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*proof.Claim, *proof.Terms)
		code   fault.Code // "" is accepted
	}{
		"as it was made":        {func(*proof.Claim, *proof.Terms) {}, ""},
		"at its end":            {func(_ *proof.Claim, u *proof.Terms) { u.Now = ch.Expires() }, ""},
		"after its end":         {func(_ *proof.Claim, u *proof.Terms) { u.Now = ch.Expires().Add(time.Millisecond) }, fault.Expired},
		"a clock little behind": {func(_ *proof.Claim, u *proof.Terms) { u.Now = now.Add(-5 * time.Second) }, ""},
		"a clock far behind":    {func(_ *proof.Claim, u *proof.Terms) { u.Now = now.Add(-6 * time.Second) }, fault.Unauthenticated},
		"to join":               {func(_ *proof.Claim, u *proof.Terms) { u.Purpose = "join" }, fault.Denied},
		"in another cluster":    {func(_ *proof.Claim, u *proof.Terms) { u.Cluster = "1c6f" }, fault.Denied},
		"with another SSH key":  {func(c *proof.Claim, _ *proof.Terms) { c.SSHKey = spki() }, fault.Denied},
		"with another TLS key":  {func(c *proof.Claim, _ *proof.Terms) { c.TLSKey = spki() }, fault.Denied},
		"with the keys swapped": {func(c *proof.Claim, _ *proof.Terms) { c.SSHKey, c.TLSKey = c.TLSKey, c.SSHKey }, fault.Denied},
	} {
		claim, terms := proof.Claim{Challenge: proof.Join(text, make([]byte, 32)), SSHKey: ssh, TLSKey: tls}, proof.Terms{Purpose: "login", Cluster: "0b5f9f1e", Now: now}
		c.change(&claim, &terms)
		if _, err := proof.Check(claim, terms); (err == nil) != (c.code == "") || err != nil && !fault.Is(err, c.code) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzSTSRequest(f *testing.F) {
	good := signed(f, "eu-central-1", "token")
	f.Add(good.Region, good.Host, good.Authorization, good.AmzDate, good.SecurityToken)
	f.Add("us-east-1", "", "AWS4-HMAC-SHA256 Credential=", "20261120T120000Z", "")
	f.Fuzz(func(t *testing.T, region, host, authorization, date, token string) {
		r, err := proof.Rebuild(wire.STSRequest{Region: region, Host: host, Authorization: authorization, AmzDate: date, SecurityToken: token}, binding, now)
		if err != nil {
			if fault.From(err).Code == fault.Internal {
				t.Fatalf("no fault: %v", err)
			}
			return
		}
		want, _, ok := proof.Host(region)
		if !ok || r.Host != want {
			t.Fatalf("host %q for region %q", r.Host, region)
		}
		seen := map[string]bool{}
		for _, h := range r.Headers {
			if strings.ContainsAny(h.Value, "\r\n\x00") || seen[http.CanonicalHeaderKey(h.Name)] {
				t.Fatalf("header %q: %q", h.Name, h.Value)
			}
			seen[http.CanonicalHeaderKey(h.Name)] = true
		}
	})
}

func FuzzARN(f *testing.F) {
	f.Add("111122223333", "arn:aws:sts::111122223333:assumed-role/R/s1", "AROAEXAMPLEEXAMPLE12:s1")
	f.Add("111122223333", "arn:aws:iam::111122223333:user/assumed-role/R/s1", "AIDAEXAMPLEEXAMPLE12")
	f.Fuzz(func(t *testing.T, account, arn, id string) {
		c, err := proof.ParseCaller(account, arn, id)
		if err != nil {
			return
		}
		if want := "arn:" + c.Partition + ":sts::" + account + ":assumed-role/" + c.Role + "/" + c.Session; arn != want || id != c.RoleID+":"+c.Session {
			t.Fatalf("%+v of %q and %q", c, arn, id)
		}
	})
}

// FuzzChallenge: what is taken for a challenge has one spelling, and whatever else comes is the sender's fault.
func FuzzChallenge(f *testing.F) {
	ch, err := proof.NewChallenge("login", "0b5f9f1e", binding.Keys, now, rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	text, err := ch.Text()
	if err != nil {
		f.Fatal(err)
	}
	good := proof.Join(text, make([]byte, 32))
	for _, seed := range []string{good, good + "=", good[:len(good)-1], text, text + ".", "." + good, proof.Join("e30", make([]byte, 32)), proof.Join("bnVsbA", make([]byte, 32)), strings.Repeat("A", 2000)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		o, err := proof.Open(s)
		if err != nil {
			if !fault.Is(err, fault.BadInput) {
				t.Fatalf("%q: %v", s, err)
			}
			return
		}
		text, _, _ := strings.Cut(s, ".")
		if proof.Join(text, o.MAC) != s || string(o.Message) != string(proof.Authenticated(text)) || o.Challenge.V != 1 {
			t.Fatalf("%q is taken as %+v", s, o)
		}
	})
}
