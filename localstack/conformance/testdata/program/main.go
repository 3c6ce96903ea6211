// Command program is what the conformance suite runs as functions, and behind a network load balancer. It does what
// its request says, and writes what it saw below notes/ in the bucket BUCKET.
//
//	program               a Lambda function
//	program echo :port    a server behind a load balancer; see echo.go
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

func main() {
	if len(os.Args) == 3 && os.Args[1] == "echo" {
		fmt.Fprintln(os.Stderr, echo(os.Args[2]))
		os.Exit(1)
	}
	c, err := config.LoadDefaultConfig(context.Background())
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	p := &program{bucket: os.Getenv("BUCKET"), client: s3.NewFromConfig(c, func(o *s3.Options) { o.UsePathStyle = o.BaseEndpoint != nil })}
	lambda.Start(p.serve)
}

// program is the function.
type program struct {
	bucket string
	client *s3.Client
}

// order is any event that this function gets: what an AWS service sends, or what the suite does.
type order struct {
	HTTPMethod string `json:"httpMethod"` // API Gateway
	Headers    map[string]string

	RequestType string // a custom resource

	Records []record // a stream

	DetailType string `json:"detail-type"` // a rule

	Do    string // of the suite: fail, crash, hang
	Note  string // where to write the request down
	Fails int    // fail so many times first
}

type record struct {
	DynamoDB struct {
		Keys           map[string]map[string]string
		NewImage       map[string]map[string]string
		SequenceNumber string
	} `json:"dynamodb"`
}

func (p *program) serve(ctx context.Context, raw json.RawMessage) (any, error) {
	var o order
	if err := json.Unmarshal(raw, &o); err != nil {
		return nil, err
	}
	switch {
	case o.HTTPMethod != "":
		return answer(o, raw)
	case o.RequestType != "":
		return nil, p.custom(ctx, raw)
	case o.Records != nil:
		return p.batch(ctx, o)
	case o.DetailType != "":
		_, err := p.note(ctx, "rule", raw)
		return nil, err
	}
	return p.obey(ctx, o, raw)
}

// answer is what API Gateway gets: the event itself as a body, or what the header X-Answer says.
func answer(o order, raw json.RawMessage) (any, error) {
	for name, value := range o.Headers {
		if !strings.EqualFold(name, "x-answer") {
			continue
		}
		switch value {
		case "fail":
			return nil, errors.New("on purpose")
		case "crash":
			os.Exit(3)
		}
		return json.RawMessage(value), nil
	}
	return map[string]any{"statusCode": 200, "headers": map[string]string{"Content-Type": "application/json"}, "body": string(raw)}, nil
}

// obey does what the suite asks of a function that it invokes itself.
func (p *program) obey(ctx context.Context, o order, raw json.RawMessage) (any, error) {
	tries := 1
	if o.Note != "" {
		c, _ := lambdacontext.FromContext(ctx)
		var err error
		if tries, err = p.note(ctx, o.Note, fmt.Appendf(nil, "%s", c.AwsRequestID)); err != nil {
			return nil, err
		}
	}
	switch {
	case o.Do == "crash":
		os.Exit(3)
	case o.Do == "hang":
		select {}
	case o.Do == "fail" || tries <= o.Fails:
		return nil, errors.New("on purpose")
	}
	return raw, nil
}

// batch writes the keys of a stream's batch down, and fails if an item says so. One that says that it is to be reported is
// reported when it comes for the first time.
func (p *program) batch(ctx context.Context, o order) (any, error) {
	var saw struct {
		Keys   []string
		Failed bool
	}
	for _, r := range o.Records {
		saw.Keys = append(saw.Keys, r.DynamoDB.Keys["pk"]["S"]+"/"+r.DynamoDB.Keys["sk"]["S"])
		saw.Failed = saw.Failed || r.DynamoDB.NewImage["fail"] != nil
	}
	raw, err := json.Marshal(saw)
	if err != nil {
		return nil, err
	}
	if _, err := p.note(ctx, "stream-"+os.Getenv("NAME"), raw); err != nil {
		return nil, err
	}
	if saw.Failed {
		return nil, errors.New("on purpose")
	}
	return p.report(ctx, o)
}

// report is the answer about a batch: nothing, or the first record that is to be reported.
func (p *program) report(ctx context.Context, o order) (any, error) {
	for _, r := range o.Records {
		if r.DynamoDB.NewImage["report"] == nil {
			continue
		}
		tries, err := p.note(ctx, "report-"+os.Getenv("NAME")+"-"+r.DynamoDB.SequenceNumber, nil)
		if err != nil || tries > 1 {
			return nil, err
		}
		return map[string]any{"batchItemFailures": []any{map[string]string{"itemIdentifier": r.DynamoDB.SequenceNumber}}}, nil
	}
	return nil, nil
}

// custom answers a custom resource: FAILED if its property Answer says so, and a Delete always SUCCESS.
func (p *program) custom(ctx context.Context, raw json.RawMessage) error {
	var event struct {
		RequestType, ResponseURL, StackId, RequestId, LogicalResourceId, PhysicalResourceId string
		ResourceProperties                                                                  map[string]any
	}
	if err := json.Unmarshal(raw, &event); err != nil {
		return err
	}
	if _, err := p.note(ctx, fmt.Sprintf("custom-%v", event.ResourceProperties["Note"]), raw); err != nil {
		return err
	}
	if event.PhysicalResourceId == "" {
		event.PhysicalResourceId = "made-" + event.LogicalResourceId
	}
	status := "SUCCESS"
	if event.ResourceProperties["Answer"] == "FAILED" && event.RequestType != "Delete" {
		status = "FAILED"
	}
	body, err := json.Marshal(map[string]any{
		"Status": status, "Reason": "the suite asked for it", "PhysicalResourceId": event.PhysicalResourceId, "StackId": event.StackId,
		"RequestId": event.RequestId, "LogicalResourceId": event.LogicalResourceId, "Data": map[string]any{"Value": event.ResourceProperties["Value"]},
	})
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPut, event.ResponseURL, bytes.NewReader(body))
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("answering: %s", response.Status)
	}
	return nil
}

// note writes something down, and counts what stands there under that name.
func (p *program) note(ctx context.Context, name string, raw []byte) (int, error) {
	prefix := "notes/" + name + "/"
	key := fmt.Sprintf("%s%d", prefix, time.Now().UnixNano())
	if _, err := p.client.PutObject(ctx, &s3.PutObjectInput{Bucket: &p.bucket, Key: &key, Body: bytes.NewReader(raw)}); err != nil {
		return 0, err
	}
	out, err := p.client.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: &p.bucket, Prefix: aws.String(prefix)})
	if err != nil {
		return 0, err
	}
	return len(out.Contents), nil
}
