// Package prover makes what logins and joins show to prove an AWS identity: a signed sts:GetCallerIdentity request
// that is never sent by its maker, with challenge, purpose, cluster and key hash in signed headers.
//
// It calls only the credential provider that it is given. Its entry point is [IAM].
package prover

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/proof"
	"github.com/stile-dev/stile/pkg/wire"
)

// Request is what the evidence is bound to.
type Request struct {
	Challenge string // from the API
	Purpose   string // names.PurposeLogin or names.PurposeJoin
	Cluster   string // from the API's challenge
	Keys      string // certs.KeysHash of both public keys

	Now time.Time // the server's time, as far as it is known; zero: this machine's
}

// IAM signs the request with the credentials of cfg for the STS endpoint of its Region.
func IAM(ctx context.Context, cfg aws.Config, r Request) (wire.STSRequest, error) {
	if cfg.Region == "" {
		return wire.STSRequest{}, fault.New(fault.BadInput, "no AWS Region is configured", "set AWS_REGION, or region in your AWS profile")
	}
	host, _, ok := proof.Host(cfg.Region)
	if !ok {
		return wire.STSRequest{}, fault.Newf(fault.BadInput, "set AWS_REGION to a Region such as eu-central-1", "%q is not a Region with an STS endpoint", cfg.Region)
	}
	if cfg.Credentials == nil {
		return wire.STSRequest{}, noCredentials(nil)
	}
	creds, err := cfg.Credentials.Retrieve(ctx)
	if err != nil {
		return wire.STSRequest{}, noCredentials(err)
	}
	if r.Now.IsZero() {
		r.Now = time.Now()
	}
	return sign(ctx, creds, cfg.Region, host, r)
}

func sign(ctx context.Context, creds aws.Credentials, region, host string, r Request) (wire.STSRequest, error) {
	req, err := http.NewRequestWithContext(ctx, proof.Method, "https://"+host+proof.Path, strings.NewReader(proof.Body))
	if err != nil {
		return wire.STSRequest{}, fmt.Errorf("making the identity request: %w", err)
	}
	for _, h := range proof.Unsigned(proof.Binding{Challenge: r.Challenge, Purpose: r.Purpose, Cluster: r.Cluster, Keys: r.Keys}, r.Now) {
		req.Header.Set(h.Name, h.Value)
	}
	sum := sha256.Sum256([]byte(proof.Body))
	if err := v4.NewSigner().SignHTTP(ctx, creds, req, hex.EncodeToString(sum[:]), proof.Service, region, r.Now); err != nil {
		return wire.STSRequest{}, fmt.Errorf("signing the identity request: %w", err)
	}
	return wire.STSRequest{
		Region: region, Host: host, Authorization: req.Header.Get("Authorization"),
		AmzDate: req.Header.Get("X-Amz-Date"), SecurityToken: req.Header.Get("X-Amz-Security-Token"),
	}, nil
}

// noCredentials says what to do, unless the provider did.
func noCredentials(err error) error {
	if f, ok := errors.AsType[*fault.Fault](err); ok {
		return f
	}
	return fault.New(fault.Unauthenticated, "no AWS credentials were found", "log in to AWS first, such as by aws sso login, or set AWS_PROFILE; give an EC2 instance an instance profile").Because(err)
}
