package prover_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/proof"
	"github.com/stile-dev/stile/pkg/prover"
)

var now = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

var asked = prover.Request{Challenge: "the challenge", Purpose: names.PurposeLogin, Cluster: "0b5f9f1e", Keys: "the keys", Now: now}

func as(session string) aws.Config {
	return aws.Config{Region: "eu-central-1", Credentials: credentials.NewStaticCredentialsProvider("ASIAALICEALICEALICE1", "a secret", session)}
}

// The other side rebuilds the request from its own table and takes of this one only what is signed.
func TestWhatIsShownIsWhatTheOtherSideRebuilds(t *testing.T) {
	for name, session := range map[string]string{"of a session": "IQoJb3JpZ2luX2Vj", "of a user of IAM": ""} {
		r, err := prover.IAM(t.Context(), as(session), asked)
		if err != nil {
			t.Fatal(err)
		}
		if r.Region != "eu-central-1" || r.Host != "sts.eu-central-1.amazonaws.com" || r.AmzDate != "20261120T120000Z" || r.SecurityToken != session {
			t.Errorf("%s: %+v", name, r)
		}
		bound := proof.Binding{Challenge: asked.Challenge, Purpose: asked.Purpose, Cluster: asked.Cluster, Keys: asked.Keys}
		if _, err := proof.Rebuild(r, bound, now); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Each header that binds the request is under the signature: for something else it would have to be another one.
func TestASignatureIsForOneChallengePurposeClusterAndPairOfKeys(t *testing.T) {
	first, err := prover.IAM(t.Context(), as("s"), asked)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*prover.Request){
		"challenge": func(r *prover.Request) { r.Challenge = "another" },
		"purpose":   func(r *prover.Request) { r.Purpose = names.PurposeJoin },
		"cluster":   func(r *prover.Request) { r.Cluster = "another" },
		"keys":      func(r *prover.Request) { r.Keys = "others" },
		"time":      func(r *prover.Request) { r.Now = now.Add(time.Second) },
	} {
		r := asked
		change(&r)
		if other, err := prover.IAM(t.Context(), as("s"), r); err != nil || other.Authorization == first.Authorization {
			t.Errorf("another %s has the same signature, %v", name, err)
		}
	}
}

func TestWhatIsMissingIsNamed(t *testing.T) {
	away := errors.New("the metadata service is away")
	for name, k := range map[string]struct {
		cfg  aws.Config
		code fault.Code
	}{
		"no Region":             {aws.Config{Credentials: as("").Credentials}, fault.BadInput},
		"a Region without STS":  {aws.Config{Region: "attacker.example/", Credentials: as("").Credentials}, fault.BadInput},
		"no credentials":        {aws.Config{Region: "eu-central-1"}, fault.Unauthenticated},
		"credentials that fail": {aws.Config{Region: "eu-central-1", Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return aws.Credentials{}, away })}, fault.Unauthenticated},
	} {
		if _, err := prover.IAM(t.Context(), k.cfg, asked); !fault.Is(err, k.code) || fault.From(err).Hint == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWithoutTheServersTimeTheRequestIsOfNow(t *testing.T) {
	r := asked
	r.Now = time.Time{}
	before := time.Now().UTC().Truncate(time.Second)
	shown, err := prover.IAM(t.Context(), as(""), r)
	if err != nil {
		t.Fatal(err)
	}
	if at, err := time.Parse(proof.DateFormat, shown.AmzDate); err != nil || at.Before(before) || at.After(time.Now()) {
		t.Errorf("it is of %s, %v", shown.AmzDate, err)
	}
}

// An agent's provider knows its machine better.
func TestWhatTheProviderSaysToDoIsPassedOn(t *testing.T) {
	own := fault.New(fault.Unavailable, "this instance has no role yet", "give it an instance profile")
	_, err := prover.IAM(t.Context(), aws.Config{Region: "eu-central-1", Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return aws.Credentials{}, own })}, asked)
	if f := fault.From(err); f.Hint != own.Hint || f.Code != own.Code {
		t.Errorf("%+v", f)
	}
}
