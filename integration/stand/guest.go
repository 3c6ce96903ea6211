package stand

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
)

// Reader is a role that may read all tables and buckets, to see that nothing changed, and write items, to put wrong
// ones there, and tables, to restore one.
const Reader = "IntegrationReader"

// ReaderFile is the reader's file of environment variables.
const ReaderFile = "env.reader"

// NodeFile is the one of a node of the demo's role, for agents that the local AWS doesn't run itself.
const NodeFile = "env.node"

// Guest is somebody beside the people of account.yaml.
type Guest struct{ Env, Role, Path, Session string }

// Admit adds guests to a copy, which was not started yet.
func (s *System) Admit(guests ...Guest) error {
	account := filepath.Join(s.Root, "localstack/account.yaml")
	text, err := os.ReadFile(account)
	if err != nil {
		return err
	}
	const last = "    admin: true\n"
	var lines strings.Builder
	for _, g := range guests {
		fmt.Fprintf(&lines, "  - {env: %s, home: %s, role: %s, path: %q, session: %s}\n", g.Env, g.Session, g.Role, g.Path, g.Session)
	}
	if !strings.Contains(string(text), last) {
		return errors.New("account.yaml has no administrator to add people after")
	}
	return os.WriteFile(account, []byte(strings.Replace(string(text), last, last+lines.String(), 1)), 0o644)
}

// AdmitReader adds the reader, whose role is in the Data stack, and the node.
func (s *System) AdmitReader() error {
	err := s.Admit(Guest{Env: ReaderFile, Role: Reader, Session: "reader"}, Guest{Env: NodeFile, Role: "demo-node", Session: "i-0fedcba9876543210"})
	if err != nil {
		return err
	}
	return s.ReaderRole()
}

// ReaderRole adds the reader's role to the template of the Data stack.
func (s *System) ReaderRole() error {
	return s.ChangeTemplate("StileData", func(t map[string]any) error {
		t["Resources"].(map[string]any)["IntegrationReader"] = map[string]any{
			"Type": "AWS::IAM::Role",
			"Properties": map[string]any{
				"RoleName": Reader,
				"AssumeRolePolicyDocument": map[string]any{"Version": "2012-10-17", "Statement": []any{map[string]any{
					"Effect": "Allow", "Principal": map[string]any{"Service": "sso.amazonaws.com"}, "Action": "sts:AssumeRole",
				}}},
				"Policies": []any{map[string]any{"PolicyName": "read-everything", "PolicyDocument": map[string]any{
					"Version": "2012-10-17", "Statement": []any{map[string]any{
						"Effect": "Allow",
						"Action": []any{
							"dynamodb:ListTables", "dynamodb:Scan", "dynamodb:GetItem", "dynamodb:PutItem",
							"dynamodb:CreateTable", "dynamodb:UpdateTable", "dynamodb:UpdateTimeToLive",
							"s3:ListAllMyBuckets", "s3:ListBucket", "s3:GetObject",
							"lambda:InvokeFunction", "dynamodb:Query", "sqs:ReceiveMessage", "sqs:SendMessage",
						},
						"Resource": "*",
					}},
				}}},
			},
		}
		return nil
	})
}

// AWS returns what the SDK would read from the person's variables.
func (p *Person) AWS() aws.Config {
	return aws.Config{
		Region:       p.Env["AWS_REGION"],
		BaseEndpoint: aws.String(p.Env["AWS_ENDPOINT_URL"]),
		Credentials:  credentials.NewStaticCredentialsProvider(p.Env["AWS_ACCESS_KEY_ID"], p.Env["AWS_SECRET_ACCESS_KEY"], p.Env["AWS_SESSION_TOKEN"]),
	}
}
