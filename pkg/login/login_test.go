package login_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stile-dev/stile/pkg/access"
	"github.com/stile-dev/stile/pkg/app/clustertest"
	"github.com/stile-dev/stile/pkg/certs"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/login"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/proof"
	"github.com/stile-dev/stile/pkg/wire"
)

var errDown = errors.New("down")

// outside is all that the front calls. It notes each call by its name.
type outside struct {
	calls []string
	asked proof.UserRequest
	fail  map[string]error
}

func (o *outside) call(name string) error {
	o.calls = append(o.calls, name)
	return o.fail[name]
}

func (o *outside) Generate(context.Context, []byte) ([]byte, error) {
	return make([]byte, 32), o.call("mac")
}

func (o *outside) Addrs(context.Context, time.Time) ([]string, error) {
	return []string{"proxy:443"}, o.call("proxies")
}

func (o *outside) Issue(_ context.Context, r proof.UserRequest) (wire.UserCredential, error) {
	o.asked = r
	return wire.UserCredential{User: "alice", Proxies: []string{"the signer's"}}, o.call("signer")
}

func newFront(c *clustertest.Cluster) (*outside, *login.Front) {
	o := &outside{fail: map[string]error{}}
	return o, login.New(login.Config{Cluster: c.ID, MAC: o, Signer: o, Proxies: o})
}

func call(c *clustertest.Cluster) login.Call {
	return login.Call{RequestID: "req-1", SourceIP: "192.0.2.7", Now: c.Now}
}

// request is a well-formed login.
func request(t *testing.T, c *clustertest.Cluster) wire.LoginIAMRequest {
	t.Helper()
	ssh, tls := clustertest.SPKI(t, clustertest.Key(t)), clustertest.SPKI(t, clustertest.Key(t))
	challenge := c.Challenge(names.PurposeLogin, ssh, tls)
	return wire.LoginIAMRequest{Challenge: challenge, SSHKey: ssh, TLSKey: tls, TTLSeconds: 60, STS: c.STSRequest("ASIAALICEALICEALICE1", proof.Binding{
		Challenge: challenge, Purpose: names.PurposeLogin, Cluster: c.ID, Keys: certs.KeysHash(ssh, tls),
	})}
}

func TestAChallengeIsForLoginAndForTheseKeysAndUnderTheClustersMAC(t *testing.T) {
	c := clustertest.New(t)
	ssh, tls := clustertest.SPKI(t, clustertest.Key(t)), clustertest.SPKI(t, clustertest.Key(t))
	front := login.New(login.Config{Cluster: c.ID, MAC: c})
	got, err := front.Challenge(t.Context(), call(c), wire.ChallengeRequest{Keys: certs.KeysHash(ssh, tls)})
	if err != nil {
		t.Fatal(err)
	}
	if again, err := front.Challenge(t.Context(), call(c), wire.ChallengeRequest{Keys: certs.KeysHash(ssh, tls)}); err != nil || again.Challenge == got.Challenge {
		t.Errorf("the same challenge twice, %v", err)
	}
	ck, err := proof.Check(proof.Claim{Challenge: got.Challenge, SSHKey: ssh, TLSKey: tls}, proof.Terms{Purpose: names.PurposeLogin, Cluster: c.ID, Now: c.Now})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Verify(t.Context(), ck.Message, ck.MAC); err != nil {
		t.Error(err)
	}
}

func TestWithoutKeysEntropyOrMACThereIsNoChallenge(t *testing.T) {
	c := clustertest.New(t)
	keys := strings.Repeat("k", 43)
	for name, k := range map[string]struct {
		keys    string
		entropy int // bytes
		mac     error
		code    fault.Code
		cause   error
		calls   []string
	}{
		"no keys":            {"", 32, nil, fault.BadInput, nil, nil},
		"what is no hash":    {keys + "=", 32, nil, fault.BadInput, nil, nil},
		"too little to draw": {keys, 31, nil, fault.Internal, io.ErrUnexpectedEOF, nil},
		"the key is away":    {keys, 32, errDown, fault.Internal, errDown, []string{"mac"}},
	} {
		o, _ := newFront(c)
		o.fail["mac"] = k.mac
		front := login.New(login.Config{Cluster: c.ID, MAC: o, Entropy: bytes.NewReader(make([]byte, k.entropy))})
		got, err := front.Challenge(t.Context(), call(c), wire.ChallengeRequest{Keys: k.keys})
		if err == nil || fault.From(err).Code != k.code || !errors.Is(err, k.cause) && k.cause != nil || got.Challenge != "" || !cmp.Equal(o.calls, k.calls) {
			t.Errorf("%s: %+v, %v after %v", name, got, err, o.calls)
		}
	}
}

// Anybody can send anything here. Each call further costs, so whatever can be seen to be wrong is refused before one.
func TestWhatIsSeenToBeWrongIsRefusedBeforeAnybodyIsCalled(t *testing.T) {
	for name, k := range map[string]struct {
		spoil func(*testing.T, *clustertest.Cluster, *wire.LoginIAMRequest)
		code  fault.Code
	}{
		"nothing": {func(_ *testing.T, _ *clustertest.Cluster, r *wire.LoginIAMRequest) { *r = wire.LoginIAMRequest{} }, fault.BadInput},
		"another key": {func(t *testing.T, _ *clustertest.Cluster, r *wire.LoginIAMRequest) {
			r.SSHKey = clustertest.SPKI(t, clustertest.Key(t))
		}, fault.Denied},
		"one key twice": {func(_ *testing.T, c *clustertest.Cluster, r *wire.LoginIAMRequest) {
			r.TLSKey = r.SSHKey
			r.Challenge = c.Challenge(names.PurposeLogin, r.SSHKey, r.TLSKey)
		}, fault.BadInput},
		"a challenge for joining": {func(_ *testing.T, c *clustertest.Cluster, r *wire.LoginIAMRequest) {
			r.Challenge = c.Challenge(names.PurposeJoin, r.SSHKey, r.TLSKey)
		}, fault.Denied},
		"another cluster's": {func(_ *testing.T, c *clustertest.Cluster, r *wire.LoginIAMRequest) {
			mine := c.ID
			c.ID = "ffffffff-6f6a-4c0e-9a53-0d6f3c1f7a11"
			r.Challenge = c.Challenge(names.PurposeLogin, r.SSHKey, r.TLSKey)
			c.ID = mine
		}, fault.Denied},
		"too late": {func(_ *testing.T, c *clustertest.Cluster, _ *wire.LoginIAMRequest) {
			c.Now = c.Now.Add(proof.ChallengeLife + time.Second)
		}, fault.Expired},
		"another host for STS": {func(_ *testing.T, _ *clustertest.Cluster, r *wire.LoginIAMRequest) { r.STS.Host = "attacker.example" }, fault.BadInput},
		"no signed request":    {func(_ *testing.T, _ *clustertest.Cluster, r *wire.LoginIAMRequest) { r.STS = wire.STSRequest{} }, fault.BadInput},
	} {
		c := clustertest.New(t)
		o, front := newFront(c)
		r := request(t, c)
		k.spoil(t, c, &r)
		if _, err := front.IAM(t.Context(), call(c), r); !fault.Is(err, k.code) || len(o.calls) != 0 {
			t.Errorf("%s: %v after %v", name, err, o.calls)
		}
	}
}

// The signer believes nothing of the front, so the evidence has to reach it as it came.
func TestTheSignerGetsTheEvidenceAsItCameAndTheAnswerNamesTheProxies(t *testing.T) {
	c := clustertest.New(t)
	o, front := newFront(c)
	r := request(t, c)
	cred, err := front.IAM(t.Context(), call(c), r)
	if err != nil {
		t.Fatal(err)
	}
	evidence, err := proof.IAMEvidence(r.STS)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(proof.UserRequest{
		Method: access.MethodIAM, Challenge: r.Challenge, SSHKey: r.SSHKey, TLSKey: r.TLSKey, TTLSeconds: 60, Evidence: evidence, RequestID: "req-1", SourceIP: "192.0.2.7",
	}, o.asked); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(wire.UserCredential{User: "alice", Proxies: []string{"proxy:443"}}, cred); d != "" {
		t.Error(d)
	}
}

// What is signed counts as used: it must not get lost because something else can't be had.
func TestAFailureGivesNothingAndThatOfTheProxiesComesBeforeAnythingIsSigned(t *testing.T) {
	denied := fault.New(fault.Denied, "no iam_mapping matches", "ask")
	for name, k := range map[string]struct {
		fail  map[string]error
		want  error
		calls []string
	}{
		"the proxies are not known": {map[string]error{"proxies": errDown}, errDown, []string{"proxies"}},
		"the signer is away":        {map[string]error{"signer": errDown}, errDown, []string{"proxies", "signer"}},
		"the signer refuses":        {map[string]error{"signer": denied}, denied, []string{"proxies", "signer"}},
	} {
		c := clustertest.New(t)
		o, front := newFront(c)
		o.fail = k.fail
		cred, err := front.IAM(t.Context(), call(c), request(t, c))
		if !errors.Is(err, k.want) || !cmp.Equal(cred, wire.UserCredential{}) || !cmp.Equal(o.calls, k.calls) {
			t.Errorf("%s: %+v, %v after %v", name, cred, err, o.calls)
		}
	}
}
