package conformance_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

// callLimit bounds one try of a call, and what is sent to an API.
const callLimit = 2 * time.Minute

// tag is on everything that a run makes; its value is the run's prefix.
const tag = "stile-conformance"

// remote is an account of AWS, seen as whoever runs the suite.
type remote struct {
	prefix  string
	account string
	arn     string // who runs the suite
	caller  caller
	config  aws.Config
	cf      *cloudformation.Client
	dir     string // what was built

	mu     sync.Mutex // held while a stack begins to be made
	closed bool       // cleaning up: nothing more is made
}

// open finds the account.
func open(ctx context.Context) (*remote, error) {
	c, err := configure(ctx, callLimit)
	if err != nil {
		return nil, err
	}
	if c.Region == "" {
		return nil, errors.New("no Region: set AWS_REGION")
	}
	who, err := sts.NewFromConfig(c).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return nil, fmt.Errorf("asking AWS who you are: %w", err)
	}
	as, err := callerOf(*who.Arn)
	if err != nil {
		return nil, err
	}
	r := &remote{prefix: flags.prefix, account: *who.Account, arn: *who.Arn, caller: as, config: c, cf: cloudformation.NewFromConfig(c)}
	if r.prefix == "" {
		r.prefix = "stile-conformance-" + strings.ToLower(rand.Text()[:10])
	}
	return r, nil
}

// configure reads the AWS_… environment. Each try of a call ends within limit.
func configure(ctx context.Context, limit time.Duration) (aws.Config, error) {
	return config.LoadDefaultConfig(ctx, config.WithHTTPClient(awshttp.NewBuildableClient().WithTimeout(limit)))
}

// announce says what is about to happen.
func (r *remote) announce() {
	does := "makes stacks, and deletes them in the end"
	if flags.clean {
		does = "deletes what a run has left"
	}
	fmt.Printf("account  %s as %s\nRegion   %s\nprefix   %s\nThis %s. If it is killed, type: %s\n",
		r.account, r.arn, r.config.Region, r.prefix, does, r.command())
}

// caller is a role or a user, by its name without the path, which is of one in an account.
type caller struct{ Kind, Name string }

// callerOf reads what GetCallerIdentity says. The account's root user can become no role.
func callerOf(arn string) (caller, error) {
	_, path, _ := strings.Cut(arn, "::")
	_, path, _ = strings.Cut(path, ":")
	parts := strings.Split(path, "/")
	switch {
	case parts[0] == "assumed-role" && len(parts) == 3:
		return caller{"role", parts[1]}, nil
	case parts[0] == "user" && len(parts) > 1:
		return caller{"user", parts[len(parts)-1]}, nil
	}
	return caller{}, fmt.Errorf("you are %s, who can't become the suite's role: run the suite as a role or an IAM user", arn)
}

// command is how to clean up after this run.
func (r *remote) command() string {
	return fmt.Sprintf("AWS_REGION=%s make conformance ENDPOINT=aws PREFIX=%s CLEAN=1", r.config.Region, r.prefix)
}

// world makes the stacks and becomes the suite's role.
func (r *remote) world(ctx context.Context) (*world, error) {
	w := &world{Prefix: r.prefix, Account: r.account, Caller: r.caller, Stacks: r, Queue: r.queue, Balancer: r.balancer, Endpoint: aws.ToString(r.config.BaseEndpoint)}
	if err := bring(ctx, w); err != nil {
		return nil, err
	}
	at, err := url.Parse(w.Outputs["ApiURL"])
	if err != nil {
		return nil, err
	}
	w.API = &api{Host: at.Host, Stage: at.Path}
	w.Config = r.config.Copy()
	w.Config.Credentials = aws.NewCredentialsCache(stscreds.NewAssumeRoleProvider(sts.NewFromConfig(r.config), w.RoleARN, func(o *stscreds.AssumeRoleOptions) {
		o.RoleSessionName = "suite"
	}))
	// A role that was just made is known everywhere after seconds, a stage too.
	return w, poll(ctx, 2*time.Minute, func() (bool, error) {
		if _, err := w.Config.Credentials.Retrieve(ctx); err != nil {
			return false, fmt.Errorf("becoming the suite's role: %w", err)
		}
		got, err := w.API.send(ctx, request("GET", "/v1/plain"))
		if err == nil && got.Status != 200 {
			err = fmt.Errorf("the stage answers %d %s", got.Status, got.Body)
		}
		return err == nil, err
	})
}

// poll tries until it is done, at once and then every two seconds. It returns why the last try was none.
func poll(ctx context.Context, limit time.Duration, try func() (done bool, why error)) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(pause())
	defer tick.Stop()
	for {
		done, why := try()
		if done {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return errors.Join(ctx.Err(), why)
		}
	}
}

// pause is how long to wait between two looks.
func pause() time.Duration {
	if onAWS() {
		return 2 * time.Second
	}
	return 20 * time.Millisecond
}

// queue takes up to ten messages from a queue.
func (r *remote) queue(ctx context.Context, url string) ([]string, error) {
	var got struct {
		Messages []struct{ Body, ReceiptHandle string }
	}
	if err := call(ctx, "sqs", "AmazonSQS.ReceiveMessage", map[string]any{"QueueUrl": url, "MaxNumberOfMessages": 10, "WaitTimeSeconds": 5}, &got); err != nil {
		return nil, err
	}
	var bodies []string
	for _, m := range got.Messages {
		bodies = append(bodies, m.Body)
		if err := call(ctx, "sqs", "AmazonSQS.DeleteMessage", map[string]any{"QueueUrl": url, "ReceiptHandle": m.ReceiptHandle}, nil); err != nil {
			return nil, err
		}
	}
	return bodies, nil
}
