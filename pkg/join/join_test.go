package join_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stile-dev/stile/pkg/app/clustertest"
	"github.com/stile-dev/stile/pkg/certs"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/join"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/proof"
	"github.com/stile-dev/stile/pkg/wire"
)

var errDown = errors.New("down")

// outside is all that the front calls. It notes each call by its name.
type outside struct {
	calls []string
	asked proof.HostRequest
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

func (o *outside) Issue(_ context.Context, r proof.HostRequest) (wire.HostCredential, error) {
	o.asked = r
	return wire.HostCredential{ID: "agt_1", Proxies: []string{"the signer's"}}, o.call("signer")
}

func newFront(c *clustertest.Cluster) (*outside, *join.Front) {
	o := &outside{fail: map[string]error{}}
	return o, join.New(join.Config{Cluster: c.ID, MAC: o, Signer: o, Proxies: o})
}

func call(c *clustertest.Cluster) join.Call {
	return join.Call{RequestID: "req-1", SourceIP: "192.0.2.7", Now: c.Now}
}

// request is a well-formed join, and the signed request that goes with it where an AWS identity is shown.
func request(t *testing.T, c *clustertest.Cluster) (wire.JoinRequest, wire.STSRequest) {
	t.Helper()
	ssh, tls := clustertest.SPKI(t, clustertest.Key(t)), clustertest.SPKI(t, clustertest.Key(t))
	challenge := c.Challenge(names.PurposeJoin, ssh, tls)
	r := wire.JoinRequest{
		Challenge: challenge, SSHKey: ssh, TLSKey: tls, TTLSeconds: 60, Token: "nodes", Targets: []string{"node/web-1"}, Labels: map[string]string{"env": "prod"},
		Prior: wire.PriorCredential{Certificate: []byte{1}, Signature: []byte{2}},
	}
	return r, c.STSRequest("ASIANODENODENODENOD1", proof.Binding{Challenge: challenge, Purpose: names.PurposeJoin, Cluster: c.ID, Keys: certs.KeysHash(ssh, tls)})
}

func TestAChallengeIsForJoiningAndForTheseKeysAndUnderTheClustersMAC(t *testing.T) {
	c := clustertest.New(t)
	ssh, tls := clustertest.SPKI(t, clustertest.Key(t)), clustertest.SPKI(t, clustertest.Key(t))
	front := join.New(join.Config{Cluster: c.ID, MAC: c})
	got, err := front.Challenge(t.Context(), call(c), wire.ChallengeRequest{Keys: certs.KeysHash(ssh, tls)})
	if err != nil {
		t.Fatal(err)
	}
	if again, err := front.Challenge(t.Context(), call(c), wire.ChallengeRequest{Keys: certs.KeysHash(ssh, tls)}); err != nil || again.Challenge == got.Challenge {
		t.Errorf("the same challenge twice, %v", err)
	}
	ck, err := proof.Check(proof.Claim{Challenge: got.Challenge, SSHKey: ssh, TLSKey: tls}, proof.Terms{Purpose: names.PurposeJoin, Cluster: c.ID, Now: c.Now})
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
		front := join.New(join.Config{Cluster: c.ID, MAC: o, Entropy: bytes.NewReader(make([]byte, k.entropy))})
		got, err := front.Challenge(t.Context(), call(c), wire.ChallengeRequest{Keys: k.keys})
		if err == nil || fault.From(err).Code != k.code || !errors.Is(err, k.cause) && k.cause != nil || got.Challenge != "" || !cmp.Equal(o.calls, k.calls) {
			t.Errorf("%s: %+v, %v after %v", name, got, err, o.calls)
		}
	}
}

// Anybody can send anything here. Each call further costs, so whatever can be seen to be wrong is refused before one.
func TestWhatIsSeenToBeWrongIsRefusedBeforeAnybodyIsCalled(t *testing.T) {
	for name, k := range map[string]struct {
		spoil func(*testing.T, *clustertest.Cluster, *wire.JoinRequest)
		code  fault.Code
	}{
		"nothing":  {func(_ *testing.T, _ *clustertest.Cluster, r *wire.JoinRequest) { *r = wire.JoinRequest{Token: "nodes"} }, fault.BadInput},
		"no token": {func(_ *testing.T, _ *clustertest.Cluster, r *wire.JoinRequest) { r.Token = "" }, fault.BadInput},
		"another key": {func(t *testing.T, _ *clustertest.Cluster, r *wire.JoinRequest) {
			r.TLSKey = clustertest.SPKI(t, clustertest.Key(t))
		}, fault.Denied},
		"one key twice": {func(_ *testing.T, c *clustertest.Cluster, r *wire.JoinRequest) {
			r.TLSKey = r.SSHKey
			r.Challenge = c.Challenge(names.PurposeJoin, r.SSHKey, r.TLSKey)
		}, fault.BadInput},
		"a challenge for logging in": {func(_ *testing.T, c *clustertest.Cluster, r *wire.JoinRequest) {
			r.Challenge = c.Challenge(names.PurposeLogin, r.SSHKey, r.TLSKey)
		}, fault.Denied},
		"another cluster's": {func(_ *testing.T, c *clustertest.Cluster, r *wire.JoinRequest) {
			mine := c.ID
			c.ID = "ffffffff-6f6a-4c0e-9a53-0d6f3c1f7a11"
			r.Challenge = c.Challenge(names.PurposeJoin, r.SSHKey, r.TLSKey)
			c.ID = mine
		}, fault.Denied},
		"too late": {func(_ *testing.T, c *clustertest.Cluster, _ *wire.JoinRequest) {
			c.Now = c.Now.Add(proof.ChallengeLife + time.Second)
		}, fault.Expired},
	} {
		c := clustertest.New(t)
		o, front := newFront(c)
		r, sts := request(t, c)
		k.spoil(t, c, &r)
		_, byIAM := front.IAM(t.Context(), call(c), wire.JoinIAMRequest{Join: r, STS: sts})
		_, bySecret := front.Token(t.Context(), call(c), wire.JoinTokenRequest{Join: r, Secret: "stj_secret"})
		if !fault.Is(byIAM, k.code) || !fault.Is(bySecret, k.code) || len(o.calls) != 0 {
			t.Errorf("%s: %v and %v after %v", name, byIAM, bySecret, o.calls)
		}
	}
}

// An empty one must not turn into none either: without one the signer takes the secret's way.
func TestASignedRequestThatIsNotOneIsRefusedBeforeAnybodyIsCalled(t *testing.T) {
	for name, spoil := range map[string]func(*wire.STSRequest){
		"another host": func(r *wire.STSRequest) { r.Host = "attacker.example" },
		"nothing":      func(r *wire.STSRequest) { *r = wire.STSRequest{} },
	} {
		c := clustertest.New(t)
		o, front := newFront(c)
		r, sts := request(t, c)
		spoil(&sts)
		if _, err := front.IAM(t.Context(), call(c), wire.JoinIAMRequest{Join: r, STS: sts}); !fault.Is(err, fault.BadInput) || len(o.calls) != 0 {
			t.Errorf("%s: %v after %v", name, err, o.calls)
		}
	}
}

// The signer believes nothing of the front, so the evidence has to reach it as it came.
func TestTheSignerGetsTheEvidenceAsItCameAndTheAnswerNamesTheProxies(t *testing.T) {
	c := clustertest.New(t)
	r, sts := request(t, c)
	for name, k := range map[string]struct {
		join func(*join.Front) (wire.HostCredential, error)
		want proof.HostRequest
	}{
		"with an AWS identity": {func(f *join.Front) (wire.HostCredential, error) {
			return f.IAM(t.Context(), call(c), wire.JoinIAMRequest{Join: r, STS: sts})
		}, proof.HostRequest{STS: &sts}},
		"with a secret": {func(f *join.Front) (wire.HostCredential, error) {
			return f.Token(t.Context(), call(c), wire.JoinTokenRequest{Join: r, Secret: "stj_secret"})
		}, proof.HostRequest{Secret: "stj_secret"}},
		"with the credential held": {func(f *join.Front) (wire.HostCredential, error) {
			return f.Token(t.Context(), call(c), wire.JoinTokenRequest{Join: r})
		}, proof.HostRequest{}},
	} {
		o, front := newFront(c)
		cred, err := k.join(front)
		if err != nil {
			t.Fatal(err)
		}
		k.want.Join, k.want.RequestID, k.want.SourceIP = r, "req-1", "192.0.2.7"
		if d := cmp.Diff(k.want, o.asked); d != "" {
			t.Errorf("%s: %s", name, d)
		}
		if d := cmp.Diff(wire.HostCredential{ID: "agt_1", Proxies: []string{"proxy:443"}}, cred); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}

// What is signed counts as used: it must not get lost because something else can't be had.
func TestAFailureGivesNothingAndThatOfTheProxiesComesBeforeAnythingIsSigned(t *testing.T) {
	denied := fault.New(fault.Denied, "there is no join token", "ask")
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
		r, sts := request(t, c)
		cred, err := front.IAM(t.Context(), call(c), wire.JoinIAMRequest{Join: r, STS: sts})
		if !errors.Is(err, k.want) || !cmp.Equal(cred, wire.HostCredential{}) || !cmp.Equal(o.calls, k.calls) {
			t.Errorf("%s: %+v, %v after %v", name, cred, err, o.calls)
		}
	}
}
