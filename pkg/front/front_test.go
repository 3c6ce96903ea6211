package front_test

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
	"github.com/stile-dev/stile/pkg/front"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/proof"
	"github.com/stile-dev/stile/pkg/wire"
)

var errDown = errors.New("down")

// outside is all that the fronts call. It notes each call by its name.
type outside struct {
	mac     front.MAC // nil gives zeros
	calls   []string
	sources []string          // whose arrivals were counted
	user    proof.UserRequest // what the signers were asked
	host    proof.HostRequest
	fail    map[string]error
	keys    map[string][]byte // of proxies
}

func (o *outside) call(name string) error {
	o.calls = append(o.calls, name)
	return o.fail[name]
}

func (o *outside) Generate(ctx context.Context, message []byte, issued time.Time) ([]byte, error) {
	if err := o.call("mac"); err != nil || o.mac == nil {
		return make([]byte, 32), err
	}
	return o.mac.Generate(ctx, message, issued)
}

func (o *outside) Arrive(_ context.Context, proxy, source string, _ time.Time) error {
	o.sources = append(o.sources, strings.TrimPrefix(proxy+"#"+source, "#"))
	return o.call("rate")
}

func (o *outside) Key(_ context.Context, proxy string, _ time.Time) ([]byte, error) {
	return o.keys[proxy], o.call("key of " + proxy)
}

func (o *outside) Addrs(context.Context, time.Time) ([]string, error) {
	return []string{"proxy:443"}, o.call("proxies")
}

func (o *outside) signUser(_ context.Context, r proof.UserRequest) (wire.UserCredential, error) {
	o.user = r
	return wire.UserCredential{User: "alice", Proxies: []string{"the signer's"}}, o.call("signer")
}

func (o *outside) signHost(_ context.Context, r proof.HostRequest) (wire.HostCredential, error) {
	o.host = r
	return wire.HostCredential{ID: "agt_1", Proxies: []string{"the signer's"}}, o.call("signer")
}

func call(c *clustertest.Cluster) front.Call {
	return front.Call{RequestID: "req-1", SourceIP: "192.0.2.7", Now: c.Now}
}

// arrival is a well-formed login or join, which a case spoils before it is made.
type arrival struct {
	challenge string
	ssh, tls  []byte
	sts       wire.STSRequest
}

func arrive(t *testing.T, c *clustertest.Cluster, purpose string) arrival {
	t.Helper()
	ssh, tls := clustertest.SPKI(t, clustertest.Key(t)), clustertest.SPKI(t, clustertest.Key(t))
	challenge := c.Challenge(purpose, ssh, tls)
	return arrival{challenge, ssh, tls, c.STSRequest("ASIAALICEALICEALICE1", proof.Binding{
		Challenge: challenge, Purpose: purpose, Cluster: c.ID, Keys: certs.KeysHash(ssh, tls),
	})}
}

func (a arrival) login() wire.LoginIAMRequest {
	return wire.LoginIAMRequest{Challenge: a.challenge, SSHKey: a.ssh, TLSKey: a.tls, TTLSeconds: 60, STS: a.sts}
}

func (a arrival) join() wire.JoinRequest {
	return wire.JoinRequest{
		Challenge: a.challenge, SSHKey: a.ssh, TLSKey: a.tls, TTLSeconds: 60, Token: "nodes", Targets: []string{"node/web-1"}, Labels: map[string]string{"env": "prod"},
		Prior: wire.PriorCredential{Certificate: []byte{1}, Signature: []byte{2}},
	}
}

// way is one way in, with the purpose of its challenges and that of the other front's. It takes the entropy of its
// challenges, nil for what is drawn in earnest.
type way struct {
	purpose, other string
	challenge      func(context.Context, *clustertest.Cluster, *outside, io.Reader, wire.ChallengeRequest) (wire.Challenge, error)
	enter          func(context.Context, *clustertest.Cluster, *outside, arrival) (credential any, err error)
	signed         bool // whether it shows a signed request
}

func ways() map[string]way {
	logins := func(c *clustertest.Cluster, o *outside, entropy io.Reader) *front.Logins {
		return front.NewLogins(front.Config[proof.UserRequest, wire.UserCredential]{Cluster: c.ID, MAC: o, Proxies: o, Rate: o, Sign: o.signUser, Entropy: entropy})
	}
	joins := func(c *clustertest.Cluster, o *outside, entropy io.Reader) *front.Joins {
		return front.NewJoins(front.Config[proof.HostRequest, wire.HostCredential]{Cluster: c.ID, MAC: o, Proxies: o, Rate: o, Sign: o.signHost, Entropy: entropy})
	}
	toLogin := func(ctx context.Context, c *clustertest.Cluster, o *outside, entropy io.Reader, r wire.ChallengeRequest) (wire.Challenge, error) {
		return logins(c, o, entropy).Challenge(ctx, call(c), r)
	}
	toJoin := func(ctx context.Context, c *clustertest.Cluster, o *outside, entropy io.Reader, r wire.ChallengeRequest) (wire.Challenge, error) {
		return joins(c, o, entropy).Challenge(ctx, call(c), r)
	}
	return map[string]way{
		"login": {names.PurposeLogin, names.PurposeJoin, toLogin, func(ctx context.Context, c *clustertest.Cluster, o *outside, a arrival) (any, error) {
			return logins(c, o, nil).IAM(ctx, call(c), a.login())
		}, true},
		"join with an AWS identity": {names.PurposeJoin, names.PurposeLogin, toJoin, func(ctx context.Context, c *clustertest.Cluster, o *outside, a arrival) (any, error) {
			return joins(c, o, nil).IAM(ctx, call(c), wire.JoinIAMRequest{Join: a.join(), STS: a.sts})
		}, true},
		"join with a secret": {names.PurposeJoin, names.PurposeLogin, toJoin, func(ctx context.Context, c *clustertest.Cluster, o *outside, a arrival) (any, error) {
			return joins(c, o, nil).Token(ctx, call(c), wire.JoinTokenRequest{Join: a.join(), Secret: "stj_secret"})
		}, false},
	}
}

func TestAChallengeIsForOnePurposeAndForTheseKeysAndUnderTheClustersMAC(t *testing.T) {
	for name, w := range ways() {
		c := clustertest.New(t)
		o := &outside{mac: c}
		ssh, tls := clustertest.SPKI(t, clustertest.Key(t)), clustertest.SPKI(t, clustertest.Key(t))
		r := wire.ChallengeRequest{Keys: certs.KeysHash(ssh, tls)}
		got, err := w.challenge(t.Context(), c, o, nil, r)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := w.challenge(t.Context(), c, o, nil, r); err != nil || again.Challenge == got.Challenge {
			t.Errorf("%s: the same challenge twice, %v", name, err)
		}
		checked, err := proof.Check(proof.Claim{Challenge: got.Challenge, SSHKey: ssh, TLSKey: tls}, proof.Terms{Purpose: w.purpose, Cluster: c.ID, Now: c.Now})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Verify(t.Context(), checked.Message, checked.MAC, checked.Challenge.IssuedAt); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWithoutKeysEntropyOrMACThereIsNoChallenge(t *testing.T) {
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
		"the key is away":    {keys, 32, errDown, fault.Internal, errDown, []string{"rate", "mac"}},
	} {
		for by, w := range ways() {
			o := &outside{fail: map[string]error{"mac": k.mac}}
			got, err := w.challenge(t.Context(), clustertest.New(t), o, bytes.NewReader(make([]byte, k.entropy)), wire.ChallengeRequest{Keys: k.keys})
			if err == nil || fault.From(err).Code != k.code || !errors.Is(err, k.cause) && k.cause != nil || got.Challenge != "" || !cmp.Equal(o.calls, k.calls) {
				t.Errorf("%s, %s: %+v, %v after %v", by, name, got, err, o.calls)
			}
		}
	}
}

// Anybody can send anything here. Each call further costs, so whatever can be seen to be wrong is refused before one.
func TestWhatIsSeenToBeWrongIsRefusedBeforeAnybodyIsCalled(t *testing.T) {
	for name, k := range map[string]struct {
		spoil  func(*clustertest.Cluster, way, *arrival)
		code   fault.Code
		signed bool // it concerns the signed request alone
	}{
		"nothing":     {func(_ *clustertest.Cluster, _ way, a *arrival) { *a = arrival{} }, fault.BadInput, false},
		"another key": {func(_ *clustertest.Cluster, _ way, a *arrival) { a.ssh = clustertest.SPKI(t, clustertest.Key(t)) }, fault.Denied, false},
		"one key twice": {func(c *clustertest.Cluster, w way, a *arrival) {
			a.tls = a.ssh
			a.challenge = c.Challenge(w.purpose, a.ssh, a.tls)
		}, fault.BadInput, false},
		"a challenge of the other front": {func(c *clustertest.Cluster, w way, a *arrival) { a.challenge = c.Challenge(w.other, a.ssh, a.tls) }, fault.Denied, false},
		"another cluster's": {func(c *clustertest.Cluster, w way, a *arrival) {
			mine := c.ID
			c.ID = "ffffffff-6f6a-4c0e-9a53-0d6f3c1f7a11"
			a.challenge = c.Challenge(w.purpose, a.ssh, a.tls)
			c.ID = mine
		}, fault.Denied, false},
		"too late":             {func(c *clustertest.Cluster, _ way, _ *arrival) { c.Now = c.Now.Add(proof.ChallengeLife + time.Second) }, fault.Expired, false},
		"another host for STS": {func(_ *clustertest.Cluster, _ way, a *arrival) { a.sts.Host = "attacker.example" }, fault.BadInput, true},
		// An empty one must not turn into none either: without one the signer takes the secret's way.
		"no signed request": {func(_ *clustertest.Cluster, _ way, a *arrival) { a.sts = wire.STSRequest{} }, fault.BadInput, true},
	} {
		for by, w := range ways() {
			if k.signed && !w.signed {
				continue
			}
			c, o := clustertest.New(t), &outside{}
			a := arrive(t, c, w.purpose)
			k.spoil(c, w, &a)
			if _, err := w.enter(t.Context(), c, o, a); !fault.Is(err, k.code) || len(o.calls) != 0 {
				t.Errorf("%s, %s: %v after %v", by, name, err, o.calls)
			}
		}
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
		"the proxies are not known": {map[string]error{"proxies": errDown}, errDown, []string{"rate", "proxies"}},
		"the signer is away":        {map[string]error{"signer": errDown}, errDown, []string{"rate", "proxies", "signer"}},
		"the signer refuses":        {map[string]error{"signer": denied}, denied, []string{"rate", "proxies", "signer"}},
	} {
		for by, w := range ways() {
			c, o := clustertest.New(t), &outside{fail: k.fail}
			cred, err := w.enter(t.Context(), c, o, arrive(t, c, w.purpose))
			given := !cmp.Equal(cred, any(wire.UserCredential{})) && !cmp.Equal(cred, any(wire.HostCredential{}))
			if !errors.Is(err, k.want) || given || !cmp.Equal(o.calls, k.calls) {
				t.Errorf("%s, %s: %+v, %v after %v", by, name, cred, err, o.calls)
			}
		}
	}
}

// The signer believes nothing of the front, so the evidence has to reach it as it came.
func TestTheSignerGetsTheEvidenceAsItCameAndTheAnswerNamesTheProxies(t *testing.T) {
	c := clustertest.New(t)
	a := arrive(t, c, names.PurposeJoin)
	joined := wire.HostCredential{ID: "agt_1", Proxies: []string{"proxy:443"}}
	for name, want := range map[string]proof.HostRequest{
		"join with an AWS identity": {Join: a.join(), STS: &a.sts, RequestID: "req-1", SourceIP: "192.0.2.7"},
		"join with a secret":        {Join: a.join(), Secret: "stj_secret", RequestID: "req-1", SourceIP: "192.0.2.7"},
	} {
		o := &outside{}
		cred, err := ways()[name].enter(t.Context(), c, o, a)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, o.host) + cmp.Diff(any(joined), cred); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}

	a, o := arrive(t, c, names.PurposeLogin), &outside{}
	cred, err := ways()["login"].enter(t.Context(), c, o, a)
	if err != nil {
		t.Fatal(err)
	}
	evidence, err := proof.IAMEvidence(a.sts)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(proof.UserRequest{
		Method: "iam", Challenge: a.challenge, SSHKey: a.ssh, TLSKey: a.tls, TTLSeconds: 60, Evidence: evidence, RequestID: "req-1", SourceIP: "192.0.2.7",
	}, o.user) + cmp.Diff(any(wire.UserCredential{User: "alice", Proxies: []string{"proxy:443"}}), cred); d != "" {
		t.Error(d)
	}
}

// Whoever comes too often costs no call but the count, and is told when to come again.
func TestSec_S61_WhoComesTooOftenCostsNothingMoreAndIsToldWhenToComeAgain(t *testing.T) {
	often := fault.New(fault.RateLimited, "too many requests came from this address", "wait")
	often.RetryAfter = 7 * time.Second
	for name, w := range ways() {
		c, o := clustertest.New(t), &outside{fail: map[string]error{"rate": often}}
		_, asking := w.challenge(t.Context(), c, o, nil, wire.ChallengeRequest{Keys: strings.Repeat("k", 43)})
		_, entering := w.enter(t.Context(), c, o, arrive(t, c, w.purpose))
		for _, err := range []error{asking, entering} {
			if !fault.Is(err, fault.RateLimited) || fault.From(err).RetryAfter != often.RetryAfter {
				t.Errorf("%s: %v", name, err)
			}
		}
		if d := cmp.Diff([]string{"rate", "rate"}, o.calls) + cmp.Diff([]string{"192.0.2.7", "192.0.2.7"}, o.sources); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}

func TestAJoinNamesItsToken(t *testing.T) {
	c, o := clustertest.New(t), &outside{}
	joins := front.NewJoins(front.Config[proof.HostRequest, wire.HostCredential]{Cluster: c.ID, MAC: o, Proxies: o, Rate: o, Sign: o.signHost})
	r := arrive(t, c, names.PurposeJoin)
	join := r.join()
	join.Token = ""
	_, byIAM := joins.IAM(t.Context(), call(c), wire.JoinIAMRequest{Join: join, STS: r.sts})
	_, bySecret := joins.Token(t.Context(), call(c), wire.JoinTokenRequest{Join: join, Secret: "stj_secret"})
	if !fault.Is(byIAM, fault.BadInput) || !fault.Is(bySecret, fault.BadInput) || len(o.calls) != 0 {
		t.Errorf("%v and %v after %v", byIAM, bySecret, o.calls)
	}
}
