package conformance_test

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
)

// The program in the bucket of the stack store: as Lambda takes it, and as a server does.
const (
	codeKey    = "program.zip"
	programKey = "program"
)

// stackLimit bounds one operation on a stack.
const stackLimit = 20 * time.Minute

// Deploy implements stacks with CloudFormation. The bucket of the stack store gets the program.
func (r *remote) Deploy(ctx context.Context, name string, parameters map[string]string) (map[string]string, error) {
	body, err := os.ReadFile(templatePath(name))
	if err != nil {
		return nil, err
	}
	stack, text := r.prefix+"-"+stackName(name, parameters), r.rooted(string(body))
	var given []types.Parameter
	for key, value := range parameters {
		given = append(given, types.Parameter{ParameterKey: aws.String(key), ParameterValue: aws.String(value)})
	}
	if err := r.begin(ctx, stack, text, given); err != nil {
		return nil, fmt.Errorf("deploying %s: %w", stack, err)
	}
	made, err := r.settle(ctx, stack)
	if err != nil {
		return nil, err
	}
	if made.StackStatus != types.StackStatusCreateComplete && made.StackStatus != types.StackStatusUpdateComplete {
		return nil, fmt.Errorf("deploying %s: %s: %w", stack, made.StackStatus, r.reasons(ctx, stack))
	}
	outputs := map[string]string{}
	for _, o := range made.Outputs {
		outputs[*o.OutputKey] = *o.OutputValue
	}
	if name == "store" {
		err = r.upload(ctx, outputs["Bucket"])
	}
	return outputs, err
}

// rooted puts the suite's role under a path, as real roles often are. The templates' roles have none, so without this
// nobody would notice code that ignores a path.
func (r *remote) rooted(template string) string {
	const name = `"RoleName": {`
	if r.config.BaseEndpoint != nil {
		return template // a stand-in takes templates as they are
	}
	return strings.Replace(template, name, `"Path": "/suite/", `+name, 1)
}

// begin has a stack made, or updated if it is this run's, unless the run is ending.
func (r *remote) begin(ctx context.Context, stack, text string, given []types.Parameter) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return errors.New("the run is ending")
	}
	tags := []types.Tag{{Key: aws.String(tag), Value: &r.prefix}}
	capabilities := []types.Capability{types.CapabilityCapabilityNamedIam}
	_, err := r.cf.CreateStack(ctx, &cloudformation.CreateStackInput{
		StackName: &stack, TemplateBody: &text, Parameters: given, Tags: tags, Capabilities: capabilities,
	})
	if _, exists := errors.AsType[*types.AlreadyExistsException](err); !exists {
		return err
	}
	id, err := r.own(ctx, stack)
	if err != nil {
		return err
	}
	_, err = r.cf.UpdateStack(ctx, &cloudformation.UpdateStackInput{
		StackName: &id, TemplateBody: &text, Parameters: given, Tags: tags, Capabilities: capabilities,
	})
	return err
}

// own returns the id of a stack that has the run's tag. An id stays with its stack, a name may be given to another.
func (r *remote) own(ctx context.Context, stack string) (id string, err error) {
	out, err := r.cf.DescribeStacks(ctx, &cloudformation.DescribeStacksInput{StackName: &stack})
	if err != nil {
		return "", fmt.Errorf("asking whose stack %s is: %w", stack, err)
	}
	if len(out.Stacks) != 1 || !r.tagged(out.Stacks[0]) {
		return "", fmt.Errorf("the stack is there already and not of this run, as its tag %s is not %s; it was not changed: leave PREFIX out for a new prefix",
			tag, r.prefix)
	}
	return *out.Stacks[0].StackId, nil
}

// tagged says whether a stack has the run's tag.
func (r *remote) tagged(s types.Stack) bool {
	return slices.ContainsFunc(s.Tags, func(t types.Tag) bool { return *t.Key == tag && *t.Value == r.prefix })
}

// settle waits until nothing is in progress. The stack may be given by name or id.
func (r *remote) settle(ctx context.Context, stack string) (made types.Stack, err error) {
	err = poll(ctx, stackLimit, func() (bool, error) {
		out, err := r.cf.DescribeStacks(ctx, &cloudformation.DescribeStacksInput{StackName: &stack})
		if err != nil {
			return false, fmt.Errorf("asking for stack %s: %w", stack, err)
		}
		made = out.Stacks[0]
		return !strings.HasSuffix(string(made.StackStatus), "_IN_PROGRESS"), nil
	})
	return made, err
}

// reasons are why resources of a stack failed.
func (r *remote) reasons(ctx context.Context, stack string) error {
	out, err := r.cf.DescribeStackEvents(ctx, &cloudformation.DescribeStackEventsInput{StackName: &stack})
	if err != nil {
		return err
	}
	var faults []error
	for _, e := range slices.Backward(out.StackEvents) {
		if strings.HasSuffix(string(e.ResourceStatus), "_FAILED") {
			faults = append(faults, fmt.Errorf("%s (%s): %s", aws.ToString(e.LogicalResourceId),
				aws.ToString(e.ResourceType), aws.ToString(e.ResourceStatusReason)))
		}
	}
	return errors.Join(faults...)
}

// upload builds the program for Linux and puts it into the bucket, zipped and as it is.
func (r *remote) upload(ctx context.Context, bucket string) error {
	path := filepath.Join(r.dir, programKey)
	if err := build(ctx, path, "amd64"); err != nil {
		return err
	}
	program, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var packed bytes.Buffer
	z := zip.NewWriter(&packed)
	header := &zip.FileHeader{Name: "bootstrap", Method: zip.Deflate}
	header.SetMode(0o755)
	w, err := z.CreateHeader(header)
	if err == nil {
		_, err = w.Write(program)
	}
	if err = errors.Join(err, z.Close()); err != nil {
		return err
	}
	client := r.s3()
	for key, body := range map[string][]byte{codeKey: packed.Bytes(), programKey: program} {
		if _, err := client.PutObject(ctx, &s3.PutObjectInput{Bucket: &bucket, Key: aws.String(key), Body: bytes.NewReader(body)}); err != nil {
			return fmt.Errorf("uploading the suite's program: %w", err)
		}
	}
	return nil
}

func (r *remote) s3() *s3.Client {
	return s3.NewFromConfig(r.config, func(o *s3.Options) { o.UsePathStyle = o.BaseEndpoint != nil })
}

// stacks lists the stacks of this run: by name, and by the tag that the suite gave them.
func (r *remote) stacks(ctx context.Context) ([]types.Stack, error) {
	var ours []types.Stack
	pages := cloudformation.NewDescribeStacksPaginator(r.cf, &cloudformation.DescribeStacksInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("listing stacks: %w", err)
		}
		for _, s := range page.Stacks {
			if r.tagged(s) && strings.HasPrefix(*s.StackName, r.prefix+"-") {
				ours = append(ours, s)
			}
		}
	}
	return ours, nil
}

func isCode(err error, code string) bool {
	api, ok := errors.AsType[smithy.APIError](err)
	return ok && api.ErrorCode() == code
}
