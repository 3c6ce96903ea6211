// Package code provides the functions' zips and the proxy's program. [Build] makes them from the checked-out source for a
// deployment; [Named] and [Placed] only name them, for templates that are to be read. It knows nothing of what a function
// may do.
package code

import (
	"archive/zip"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslambda"
	"github.com/aws/aws-cdk-go/awscdk/v2/awss3assets"
	"github.com/aws/constructs-go/constructs/v10"

	"github.com/stile-dev/stile/infra/stack"
)

// Named places a function's zip under a fixed word, so that the template does not depend on who built it, or
// on whether anyone did.
func Named(_ constructs.Construct, function string) *awslambda.CfnFunction_CodeProperty {
	return &awslambda.CfnFunction_CodeProperty{S3Bucket: awscdk.Fn_Sub(new(stack.AssetBucket), nil), S3Key: new(stack.AssetPrefix + "BUILD-" + function + ".zip")}
}

// Placed places a program as Named does a function.
func Placed(_ constructs.Construct, program string) stack.Asset {
	return stack.Asset{Bucket: awscdk.Fn_Sub(new(stack.AssetBucket), nil), Key: new(stack.AssetPrefix + "BUILD-" + program)}
}

// Files are what was built, by the folder of its source.
type Files map[string]string

// Function places a function's zip as the CDK's command line will upload it.
func (f Files) Function(scope constructs.Construct, function string) *awslambda.CfnFunction_CodeProperty {
	asset := awss3assets.NewAsset(scope, new("Zip-"+function), &awss3assets.AssetProps{Path: new(f["functions/"+function])})
	return &awslambda.CfnFunction_CodeProperty{S3Bucket: asset.S3BucketName(), S3Key: asset.S3ObjectKey()}
}

// Program places a program's file as the CDK's command line will upload it.
func (f Files) Program(scope constructs.Construct, program string) stack.Asset {
	asset := awss3assets.NewAsset(scope, new("Program-"+program), &awss3assets.AssetProps{Path: new(f[program])})
	return stack.Asset{Bucket: asset.S3BucketName(), Key: asset.S3ObjectKey()}
}

// Build compiles the functions in the module at root for Lambda and zips each into root/.cache/functions, and compiles
// the programs into root/.cache/programs. The same source makes the same bytes, so that what is unchanged is not
// deployed again.
func Build(ctx context.Context, root string, functions, programs []string) (Files, error) {
	out, err := filepath.Abs(filepath.Join(root, ".cache"))
	if err != nil {
		return nil, fmt.Errorf("building: %w", err)
	}
	files := Files{}
	for _, name := range functions {
		binary := filepath.Join(out, "functions", name, "bootstrap")
		if err := compile(ctx, root, "./functions/"+name, binary); err != nil {
			return nil, fmt.Errorf("building function %s: %w", name, err)
		}
		zip := filepath.Join(out, "functions", name+".zip")
		if err := pack(binary, zip); err != nil {
			return nil, fmt.Errorf("packing function %s: %w", name, err)
		}
		files["functions/"+name] = zip
	}
	for _, name := range programs {
		files[name] = filepath.Join(out, "programs", name)
		if err := compile(ctx, root, "./"+name, files[name]); err != nil {
			return nil, fmt.Errorf("building program %s: %w", name, err)
		}
	}
	return files, nil
}

func compile(ctx context.Context, root, source, binary string) error {
	cmd := exec.CommandContext(ctx, "go", //nolint:gosec // the names are this app's own list of functions
		"build", "-trimpath", "-tags", "lambda.norpc", "-ldflags", "-s -w -buildid=", "-o", binary, source)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=arm64", "GOWORK=off")
	said, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("go build: %w\n%s", err, bytes.TrimSpace(said))
	}
	return nil
}

// pack zips one executable as bootstrap, without time or owner.
func pack(binary, to string) error {
	raw, err := os.ReadFile(binary)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	head := &zip.FileHeader{Name: "bootstrap", Method: zip.Deflate}
	head.SetMode(0o755)
	entry, err := w.CreateHeader(head)
	if err != nil {
		return err
	}
	if _, err := entry.Write(raw); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return os.WriteFile(to, b.Bytes(), 0o600)
}
