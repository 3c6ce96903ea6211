package stack

import (
	"encoding/json"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsecr"
	"github.com/aws/constructs-go/constructs/v10"
)

// Asset is a file that the CDK uploads before it deploys. SHA256 is of its content, as hex digits.
type Asset struct{ Bucket, Key, SHA256 *string }

// The task's architecture, as Fargate, as the image and as Lambda call it.
const (
	taskArchitecture  = "ARM64"
	imageArchitecture = "arm64"
)

// keptImages is how many images the repository keeps, by the time of their push. A rule of a repository can't say
// "those that run", and a deployment that fails leaves its image behind while the one before goes on running: that one
// would expire only after so many different builds that all failed. An image has some 6 MB.
const keptImages = 100

// repositoryID is the repository's logical id.
const repositoryID = "Repository"

// imageFunction makes the proxy's image. It may read what this app uploaded, and push to the one repository.
var imageFunction = function{
	name: fnImage, does: "makes the proxy's image and pushes it", memory: 1024, timeout: 240, bucketless: true,
	may: func() []statement {
		return []statement{
			readPrograms(),
			{
				Sid: "PushImage", Resources: []any{repositoryARN()},
				Actions: []string{
					"ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:CompleteLayerUpload", "ecr:InitiateLayerUpload", "ecr:PutImage", "ecr:UploadLayerPart",
				},
			},
		}
	},
}

// readPrograms grants reading what the CDK uploads for this app.
func readPrograms() statement {
	return statement{
		Sid: "ReadProgram", Actions: []string{"s3:GetObject"}, Resources: []any{sub("arn:${AWS::Partition}:s3:::" + AssetBucket + "/" + AssetPrefix + "*")},
		Why: "the program's key is a hash of its bytes, and a rollback needs the one before; nothing but this app's uploads is below the prefix",
	}
}

func repositoryARN() *string { return awscdk.Fn_GetAtt(new(repositoryID), new("Arn")).ToString() }

// newImage declares the repository and what pushes the proxy's image into it, and returns the image that tasks run.
func newImage(s awscdk.Stack, cfg Config) *string {
	awsecr.NewCfnRepository(s, new(repositoryID), &awsecr.CfnRepositoryProps{
		ImageTagMutability: new("IMMUTABLE"), EmptyOnDelete: new(true),
		LifecyclePolicy: &awsecr.CfnRepository_LifecyclePolicyProperty{LifecyclePolicyText: new(lifecycle())},
	})
	code := cfg.Code(s, fnImage)
	newFunction(s, imageFunction, code)
	program := cfg.Program(s, container)
	made := awscdk.NewCfnResource(s, new("Image"), &awscdk.CfnResourceProps{
		Type: new("Custom::StileImage"),
		Properties: &map[string]any{
			"ServiceToken":   awscdk.Fn_GetAtt(new(functionID(fnImage)), new("Arn")),
			"ServiceTimeout": "300",
			"Repository":     ref(repositoryID),
			"RepositoryUri":  awscdk.Fn_GetAtt(new(repositoryID), new("RepositoryUri")),
			"Bucket":         program.Bucket,
			"Key":            program.Key,
			"Sha256":         program.SHA256, // the key says what was to be uploaded, this what has to be there
			"Architecture":   imageArchitecture,
			"Build":          code.S3Key, // another builder may make another image
		},
	})
	made.AddMetadata(new(binary), container)
	awscdk.NewCfnParameter(s, new("ProxyImage"), &awscdk.CfnParameterProps{
		Description:           new("An image of your own for the proxies, arm64, by digest: <registry>/<repository>@sha256:<digest>. Empty for the one that this deployment makes"),
		Default:               "",
		AllowedPattern:        new(`^([^\s@]+@sha256:[0-9a-f]{64})?$`),
		ConstraintDescription: new("empty, or an image by its digest: <registry>/<repository>@sha256:<64 hex digits>"),
	})
	conditionGiven(s, hasProxyImage, "ProxyImage")
	return either(hasProxyImage, ref("ProxyImage"), made.GetAtt(new("Uri"), awscdk.ResolutionTypeHint_STRING).ToString())
}

const hasProxyImage = "HasProxyImage"

// pullable is what tasks pull from: an image of somebody's own may be in any repository of the account.
func pullable() *string {
	return either(hasProxyImage, sub("arn:${AWS::Partition}:ecr:${AWS::Region}:${AWS::AccountId}:repository/*"), repositoryARN())
}

// lifecycle is the repository's policy. It counts and never looks at age: what runs may be old.
func lifecycle() string {
	raw, err := json.Marshal(map[string]any{"rules": []any{map[string]any{
		"rulePriority": 1, "description": "Keep what could still run",
		"selection": map[string]any{"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": keptImages},
		"action":    map[string]any{"type": "expire"},
	}}})
	if err != nil {
		panic(err) // strings and numbers in maps
	}
	return string(raw)
}

// The CDK's bootstrap stack keeps assets in this bucket, and this app keeps its own below the prefix, so that a
// function may read those and not the assets of other apps.
const (
	AssetBucket = "cdk-hnb659fds-assets-${AWS::AccountId}-${AWS::Region}"
	AssetPrefix = "stile/"
)

// Built is a program that the app has built for a deployment.
type Built struct {
	Name         string // of the asset
	Source       string // folder
	Architecture string // as Go calls it
}

// Programs lists what Config.Program is asked for.
func Programs() []Built {
	return append([]Built{{container, container, imageArchitecture}}, agents()...)
}

// Program places a program by its name.
type Program func(scope constructs.Construct, name string) Asset
