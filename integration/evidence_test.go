package integration_test

import (
	"crypto/ecdsa"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/stile-dev/stile/pkg/certs"
	"github.com/stile-dev/stile/pkg/client"
	"github.com/stile-dev/stile/pkg/entry"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/prover"
	"github.com/stile-dev/stile/pkg/wire"
)

// attempt is a login that was made by the book and not sent yet.
type attempt struct {
	api       *client.Client
	raw       api
	person    *person
	challenge wire.Challenge
	request   wire.LoginIAMRequest
	tls       *ecdsa.PrivateKey
}

// attempt makes one for the purpose; what is signed may be bent before by change.
func (p *person) attempt(t *testing.T, purpose string, change func(*prover.Request)) *attempt {
	t.Helper()
	a := &attempt{raw: p.api(t), person: p}
	var err error
	if a.api, err = client.New(client.Config{URL: p.Env["STILE_API"], HTTP: a.raw.http}); err != nil {
		t.Fatal(err)
	}
	keys, err := entry.NewKeys()
	if err != nil {
		t.Fatal(err)
	}
	a.tls = keys.TLS
	a.request.SSHKey, a.request.TLSKey = spki(t, keys.SSH), spki(t, keys.TLS)
	hash := certs.KeysHash(a.request.SSHKey, a.request.TLSKey)
	ask := a.api.LoginChallenge
	if purpose == names.PurposeJoin {
		ask = a.api.JoinChallenge
	}
	if a.challenge, err = ask(t.Context(), hash); err != nil {
		t.Fatal(err)
	}
	a.request.Challenge = a.challenge.Challenge
	shown := prover.Request{Challenge: a.challenge.Challenge, Purpose: purpose, Cluster: a.challenge.Cluster, Keys: hash}
	if change != nil {
		change(&shown)
	}
	if a.request.STS, err = prover.IAM(t.Context(), p.AWS(), shown); err != nil {
		t.Fatal(err)
	}
	return a
}

// send sends it and gives the refusal.
func (a *attempt) send(t *testing.T) error {
	t.Helper()
	_, err := a.api.LoginIAM(t.Context(), a.request)
	return err
}

// refusedAs checks that a refusal is of one of the codes and says what to do.
func refusedAs(t *testing.T, err error, codes ...fault.Code) {
	t.Helper()
	if err == nil {
		t.Error("it was let in")
		return
	}
	f := fault.From(err)
	for _, c := range codes {
		if f.Code == c && f.Hint != "" && !typeName.MatchString(f.Message+f.Hint) {
			return
		}
	}
	t.Errorf("got %s %q, hint %q, want %v", f.Code, f.Message, f.Hint, codes)
}

var loginRefused = []fault.Code{fault.Unauthenticated, fault.BadInput, fault.Denied}

func TestSec_S24_EvidenceIsGoodOnceForItsKeysClusterAndPurpose(t *testing.T) {
	p := shared.person(t, engineer)
	if err := p.attempt(t, names.PurposeLogin, nil).send(t); err != nil {
		t.Fatalf("the right login is refused: %v", err)
	}
	spent := p.attempt(t, names.PurposeLogin, nil)
	if err := spent.send(t); err != nil {
		t.Fatalf("the right login is refused: %v", err)
	}
	before := shared.snapshot(t, p)
	for name, bent := range map[string]func() *attempt{
		"sent again": func() *attempt { return spent },
		"with another tls key": func() *attempt {
			a, b := p.attempt(t, names.PurposeLogin, nil), p.attempt(t, names.PurposeLogin, nil)
			a.request.TLSKey = b.request.TLSKey
			return a
		},
		"with another ssh key": func() *attempt {
			a, b := p.attempt(t, names.PurposeLogin, nil), p.attempt(t, names.PurposeLogin, nil)
			a.request.SSHKey = b.request.SSHKey
			return a
		},
		"with keys swapped": func() *attempt {
			a := p.attempt(t, names.PurposeLogin, nil)
			a.request.SSHKey, a.request.TLSKey = a.request.TLSKey, a.request.SSHKey
			return a
		},
		"with one key twice": func() *attempt {
			a := p.attempt(t, names.PurposeLogin, nil)
			a.request.SSHKey = a.request.TLSKey
			return a
		},
		"with another login's challenge": func() *attempt {
			a, b := p.attempt(t, names.PurposeLogin, nil), p.attempt(t, names.PurposeLogin, nil)
			a.request.Challenge = b.request.Challenge
			return a
		},
		"with an altered challenge": func() *attempt {
			a := p.attempt(t, names.PurposeLogin, nil)
			a.request.Challenge = flip(a.request.Challenge)
			return a
		},
		"signed for an altered challenge": func() *attempt {
			a := p.attempt(t, names.PurposeLogin, func(r *prover.Request) { r.Challenge = flip(r.Challenge) })
			a.request.Challenge = flip(a.request.Challenge)
			return a
		},
		"signed for another challenge": func() *attempt {
			return p.attempt(t, names.PurposeLogin, func(r *prover.Request) { r.Challenge = flip(r.Challenge) })
		},
		"signed for another cluster": func() *attempt {
			return p.attempt(t, names.PurposeLogin, func(r *prover.Request) { r.Cluster = "00000000-0000-4000-8000-000000000000" })
		},
		"signed for a join": func() *attempt {
			return p.attempt(t, names.PurposeLogin, func(r *prover.Request) { r.Purpose = names.PurposeJoin })
		},
		"with a join's challenge": func() *attempt { return p.attempt(t, names.PurposeJoin, nil) },
		"with a join's challenge signed for a login": func() *attempt {
			return p.attempt(t, names.PurposeJoin, func(r *prover.Request) { r.Purpose = names.PurposeLogin })
		},
		"without any signed key hash": func() *attempt { return p.attempt(t, names.PurposeLogin, func(r *prover.Request) { r.Keys = "" }) },
	} {
		t.Run(name, func(t *testing.T) { refusedAs(t, bent().send(t), append(loginRefused, fault.Conflict)...) })
	}
	shared.unchanged(t, p, before)
}

func TestSec_S19_OnlyTheSTSRequestThatWeWouldMakeIsTaken(t *testing.T) {
	p := shared.person(t, engineer)
	before := shared.snapshot(t, p)
	for name, bend := range map[string]func(*wire.STSRequest){
		"a host that is not STS":           func(r *wire.STSRequest) { r.Host = "sts.us-east-1.amazonaws.com.evil.example" },
		"a host with a port":               func(r *wire.STSRequest) { r.Host += ":8443" },
		"another Region's host":            func(r *wire.STSRequest) { r.Host = "sts.eu-west-1.amazonaws.com" },
		"another Region":                   func(r *wire.STSRequest) { r.Region = "eu-west-1"; r.Host = "" },
		"a Region that is a host":          func(r *wire.STSRequest) { r.Region = "evil.example/"; r.Host = "" },
		"a Region that isn't":              func(r *wire.STSRequest) { r.Region = "us-moon-1"; r.Host = "" },
		"another service's scope":          func(r *wire.STSRequest) { r.Authorization = strings.Replace(r.Authorization, "/sts/", "/iam/", 1) },
		"an altered signature":             func(r *wire.STSRequest) { r.Authorization = flip(r.Authorization) },
		"another date":                     func(r *wire.STSRequest) { r.AmzDate = "20200101T000000Z" },
		"a header smuggled into the date":  func(r *wire.STSRequest) { r.AmzDate += "\r\nX-Evil: 1" },
		"a header smuggled into the token": func(r *wire.STSRequest) { r.SecurityToken += "\r\nX-Evil: 1" },
		"no session token":                 func(r *wire.STSRequest) { r.SecurityToken = "" },
		"fewer signed headers": func(r *wire.STSRequest) {
			r.Authorization = strings.Replace(r.Authorization, ";x-stile-challenge", "", 1)
		},
		"more signed headers": func(r *wire.STSRequest) {
			r.Authorization = strings.Replace(r.Authorization, "SignedHeaders=", "SignedHeaders=x-evil;", 1)
		},
		"doubled signed headers": func(r *wire.STSRequest) {
			r.Authorization = strings.Replace(r.Authorization, ";host;", ";host;host;", 1)
		},
		"a doubled parameter": func(r *wire.STSRequest) { r.Authorization += ", Signature=" + strings.Repeat("0", 64) },
		"no authorization":    func(r *wire.STSRequest) { r.Authorization = "" },
	} {
		t.Run(name, func(t *testing.T) {
			a := p.attempt(t, names.PurposeLogin, nil)
			bend(&a.request.STS)
			refusedAs(t, a.send(t), loginRefused...)
		})
	}
	shared.unchanged(t, p, before)
}

func TestSec_S20_DoubledParametersAreRefused(t *testing.T) {
	p := shared.person(t, engineer)
	before := shared.snapshot(t, p)
	for name, bend := range map[string]func(string) string{
		"a key twice":             func(s string) string { return strings.Replace(s, `{"challenge":`, `{"challenge":"x","challenge":`, 1) },
		"a key in another case":   func(s string) string { return strings.Replace(s, `{"challenge":`, `{"Challenge":"x","challenge":`, 1) },
		"an unknown key":          func(s string) string { return strings.Replace(s, `{`, `{"user":"ada",`, 1) },
		"something after the end": func(s string) string { return s + `{}` },
		"a list":                  func(s string) string { return "[" + s + "]" },
	} {
		t.Run(name, func(t *testing.T) {
			a := p.attempt(t, names.PurposeLogin, nil)
			body, err := json.Marshal(a.request)
			if err != nil {
				t.Fatal(err)
			}
			c := &call{method: "POST", path: a.raw.base.Path + "/v1/login/iam", body: []byte(bend(string(body))), headers: http.Header{"Content-Type": {"application/json"}}}
			if status, problem := a.raw.do(t, c); status != http.StatusBadRequest || problem.Code != "bad_input" {
				t.Errorf("got %d %+v", status, problem)
			}
		})
	}
	shared.unchanged(t, p, before)
}

func TestSec_S21_OnlyTheAccountAndRoleOfARuleAreLetIn(t *testing.T) {
	boss := shared.person(t, admin).login(t)
	stranger := shared.person(t, "env.stranger")
	before := shared.snapshot(t, stranger)
	stranger.run(t, nil, "login", "--iam").refused(t, 4)
	shared.unchanged(t, stranger, before)

	for name, match := range map[string]string{
		"another account":   `{account: "444455556666", role: Stranger}`,
		"another partition": `{partition: aws-cn, account: "111122223333", role: Stranger}`,
		"another role":      `{account: "111122223333", role: Strange}`,
		"another role id":   `{account: "111122223333", role: Stranger, role_id: AROAAAAAAAAAAAAAAAAAA}`,
		"another case":      `{account: "111122223333", role: stranger}`,
	} {
		t.Run(name, func(t *testing.T) {
			boss.create(t, "kind: iam_mapping\nmetadata: {name: nearly}\nspec:\n  match: "+match+"\n  user: nearly\n  roles: [access]\n  traits: {logins: [x]}\n")
			defer boss.must(t, "rm", "iam_mapping/nearly")
			stranger.run(t, nil, "login", "--iam").refused(t, 4)
			if exists(stranger.Home) {
				t.Errorf("%s was written", stranger.Home)
			}
		})
	}
	boss.create(t, "kind: iam_mapping\nmetadata: {name: exactly}\nspec:\n  match: {account: \"111122223333\", role: Stranger}\n  user: exactly\n  roles: [access]\n  traits: {logins: [x]}\n")
	defer boss.must(t, "rm", "iam_mapping/exactly")
	stranger.login(t)
}

func TestSec_S23_TheSessionNameProvesNothing(t *testing.T) {
	boss := shared.person(t, admin).login(t)
	r := boss.run(t, strings.NewReader("kind: iam_mapping\nmetadata: {name: by-session}\nspec:\n"+
		"  match: {account: \"111122223333\", role: Stranger, session: stranger}\n  roles: [access]\n  traits: {logins: [x]}\n"), "create", "-f", "-")
	r.refused(t, 2, "session")
}

// flip changes the last character but one into another that base64 and hex have too.
func flip(s string) string {
	b := []byte(s)
	i := len(b) - 2
	switch {
	case b[i] == '0':
		b[i] = '1'
	case b[i] >= '1' && b[i] <= '9':
		b[i] = '0'
	case b[i] == 'a':
		b[i] = 'b'
	default:
		b[i] = 'a'
	}
	return string(b)
}
