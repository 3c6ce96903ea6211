package serve

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/endpointcreds"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"

	"github.com/stile-dev/stile/pkg/fault"
)

// ownAWS returns credentials and Region of this machine: the Region given or else, as the SDK finds them, that of the
// environment, of a profile, and of the EC2 instance.
func ownAWS(ctx context.Context, region string) (aws.Config, error) {
	options := []func(*awsconfig.LoadOptions) error{awsconfig.WithEndpointCredentialOptions(oneLine)}
	if region != "" {
		options = append(options, awsconfig.WithRegion(region))
	}
	c, err := awsconfig.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return aws.Config{}, fault.New(fault.BadInput, "the AWS configuration can't be read", "correct the variables AWS_… of the agent's service, or the files that they name").Because(err)
	}
	if c.Credentials != nil {
		c.Credentials = explained{c.Credentials}
	}
	if c.Region == "" {
		c.Region, err = regionOfInstance(ctx, c)
	}
	return c, err
}

// oneLine takes the token of a container's credentials without the newline that its file may end with, which the SDK refuses.
// The file is read again whenever credentials are due.
func oneLine(o *endpointcreds.Options) {
	file := o.AuthorizationTokenProvider
	if file == nil {
		return
	}
	o.AuthorizationTokenProvider = endpointcreds.TokenProviderFunc(func() (string, error) {
		token, err := file.GetToken()
		return strings.TrimRight(token, "\r\n"), err
	})
}

// regionOfInstance asks the metadata service.
func regionOfInstance(ctx context.Context, c aws.Config) (string, error) {
	out, err := imds.NewFromConfig(c).GetRegion(ctx, nil)
	if err == nil {
		return out.Region, nil
	}
	if f := unanswered(err); f != nil {
		return "", f
	}
	return "", fault.New(fault.Unavailable, "no AWS Region is configured, and no metadata service of an EC2 instance answers",
		"set region in the agent's configuration; a container on an instance may also need: "+hops).Because(err)
}

// hops lets a container reach the metadata service, whose answers otherwise end at the instance itself.
const hops = "aws ec2 modify-instance-metadata-options --http-put-response-hop-limit 2 --instance-id i-…"

// unanswered says what a status of the metadata service means; nil if there was none that we know.
func unanswered(err error) *fault.Fault {
	var answer interface{ HTTPStatusCode() int }
	if !errors.As(err, &answer) {
		return nil
	}
	switch answer.HTTPStatusCode() {
	case http.StatusForbidden:
		return fault.New(fault.Unavailable, "the metadata service of this EC2 instance is switched off",
			"run: aws ec2 modify-instance-metadata-options --http-endpoint enabled --instance-id i-…").Because(err)
	case http.StatusNotFound:
		return fault.New(fault.Unavailable, "this EC2 instance has no role yet",
			"give it an instance profile; one that was just given takes a minute, and the agent tries again").Because(err)
	}
	return nil
}

// explained are credentials that say what to do when there are none.
type explained struct{ aws.CredentialsProvider }

// Retrieve implements aws.CredentialsProvider.
func (e explained) Retrieve(ctx context.Context) (aws.Credentials, error) {
	c, err := e.CredentialsProvider.Retrieve(ctx)
	if err == nil {
		return c, nil
	}
	if f := unanswered(err); f != nil {
		return c, f
	}
	return c, fault.New(fault.Unauthenticated, "no AWS credentials were found",
		"give the instance, the task or the pod a role that the join token names; a container on an EC2 instance may also need: "+hops).Because(err)
}
