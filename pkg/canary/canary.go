// Package canary is the synthetic login: it logs in as people do, with the AWS identity of its own role, and measures
// whether that worked and how long it took. A failure is a measurement and not an error, so that nothing is tried again.
//
// It must not be able to do anything with what it gets: its certificate names no role. Its entry point is [New].
package canary

import (
	"context"
	"crypto"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/stile-dev/stile/pkg/answer"
	"github.com/stile-dev/stile/pkg/client"
	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/entry"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/metric"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/resource"
	"github.com/stile-dev/stile/pkg/wire"
)

// limit is how long a login may take, well within the function's timeout: one that is cut off is not measured.
const limit = 45 * time.Second

// life is how long a certificate of the canary's lives; it is used once.
const life = 5 * time.Minute

// API is what a synthetic login needs of package client.
type API interface {
	entry.API
	Status(ctx context.Context) (wire.Status, error)
}

// Config is what a canary works with.
type Config struct {
	Cluster string
	AWS     aws.Config
	// Open returns the API for the holder of a certificate; for anybody without one.
	Open    func(key crypto.Signer, certificate []byte) (API, error)
	Metrics io.Writer // takes a line in CloudWatch's embedded metric format for each login
	Log     *slog.Logger
	Now     func() time.Time // nil: time.Now
}

// Canary logs in again and again.
type Canary struct{ config Config }

// New makes a canary.
func New(c Config) *Canary {
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Canary{c}
}

// Handle logs in once, whatever its event says, and measures it. It fails only if it could not say what it measured.
func (c *Canary) Handle(ctx context.Context, _ json.RawMessage) (any, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	began := c.config.Now()
	err := c.login(ctx)
	took := c.config.Now().Sub(began)
	if err != nil {
		_, reason := answer.Logged(err)
		c.config.Log.LogAttrs(ctx, slog.LevelError, "Login failed", append(reason, slog.Duration("duration", took))...)
	}
	return nil, c.measure(began, took, err == nil)
}

// login goes through everything that a person's login does, and asks the API who has come in.
func (c *Canary) login(ctx context.Context) error {
	anybody, err := c.config.Open(nil, nil)
	if err != nil {
		return err
	}
	keys, err := entry.NewKeys()
	if err != nil {
		return err
	}
	got, err := entry.IAM(ctx, entry.Config{API: anybody, AWS: c.config.AWS, TTL: life}, keys)
	if err != nil {
		return err
	}
	holder := document.NewHolder(c.config.Cluster, "")
	if err := holder.Accept(client.Documents(got.Trust...)...); err != nil {
		return fmt.Errorf("reading the trust document: %w", err)
	}
	if err := entry.Check(got, keys, holder.Trust(), anybody.Now()); err != nil {
		return err
	}
	if err := nobody(got.User, got.Roles, got.Logins); err != nil {
		return err
	}
	itself, err := c.config.Open(keys.TLS, got.TLSCertificate)
	if err != nil {
		return err
	}
	status, err := itself.Status(ctx)
	if err != nil {
		return err
	}
	return nobody(status.User, status.Roles, nil)
}

// nobody refuses a canary that was given anything.
func nobody(user string, roles, logins []string) error {
	if user == resource.CanaryUser && len(roles) == 0 && len(logins) == 0 {
		return nil
	}
	return fault.Newf(fault.Internal, "check how it logged in, by its event in the ledger: it must come by the iam_mapping "+resource.CanaryMapping,
		"the canary came in as %s with the roles %q and the logins %q", user, roles, logins)
}

// measure writes what CloudWatch makes metrics of. A login that failed has no duration.
func (c *Canary) measure(at time.Time, took time.Duration, ok bool) error {
	values := []metric.Value{{Name: names.MetricLoginSucceeded, Unit: "Count"}}
	if ok {
		values[0].Value = 1
		values = append(values, metric.Value{Name: names.MetricLoginDuration, Unit: "Milliseconds", Value: took.Milliseconds()})
	}
	return metric.Write(c.config.Metrics, at, "canary", values...)
}
