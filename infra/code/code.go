// Package code provides the functions' zips and the proxy's program. [Build] makes them from the checked-out source for a
// deployment; [Named] and [Placed] only name them, for templates that are to be read. It knows nothing of what a function
// may do.
package code

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
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

// Placed places a program as Named does a function. Its digest is a fixed word, too, for which whoever deploys the
// template puts the digest of what they upload.
func Placed(_ constructs.Construct, program string) stack.Asset {
	word := "BUILD-" + program
	return stack.Asset{Bucket: awscdk.Fn_Sub(new(stack.AssetBucket), nil), Key: new(stack.AssetPrefix + word), SHA256: &word}
}

// File is one that was built.
type File struct {
	Path   string
	SHA256 string // of its content, as hex digits
}

// Files are what was built: functions by the folder of their source, programs by their names.
type Files map[string]File

// Function places a function's zip as the CDK's command line will upload it.
func (f Files) Function(scope constructs.Construct, function string) *awslambda.CfnFunction_CodeProperty {
	asset := awss3assets.NewAsset(scope, new("Zip-"+function), &awss3assets.AssetProps{Path: new(f["functions/"+function].Path)})
	return &awslambda.CfnFunction_CodeProperty{S3Bucket: asset.S3BucketName(), S3Key: asset.S3ObjectKey()}
}

// Program places a program's file as the CDK's command line will upload it.
func (f Files) Program(scope constructs.Construct, program string) stack.Asset {
	asset := awss3assets.NewAsset(scope, new("Program-"+program), &awss3assets.AssetProps{Path: new(f[program].Path)})
	return stack.Asset{Bucket: asset.S3BucketName(), Key: asset.S3ObjectKey(), SHA256: new(f[program].SHA256)}
}

// Build compiles the functions in the module at root for Lambda and zips each into root/.cache/functions, and compiles
// the programs into root/.cache/programs. The same source makes the same bytes, whatever commit it is of, so that what is
// unchanged is not deployed again.
func Build(ctx context.Context, root string, functions []string, programs []stack.Built) (Files, error) {
	out, err := filepath.Abs(filepath.Join(root, ".cache"))
	if err != nil {
		return nil, fmt.Errorf("building: %w", err)
	}
	files := Files{}
	for _, name := range functions {
		binary := filepath.Join(out, "functions", name, "bootstrap")
		if err := compile(ctx, root, "./functions/"+name, functionArchitecture, binary); err != nil {
			return nil, fmt.Errorf("building function %s: %w", name, err)
		}
		zip := filepath.Join(out, "functions", name+".zip")
		if err := pack(binary, zip); err != nil {
			return nil, fmt.Errorf("packing function %s: %w", name, err)
		}
		if files["functions/"+name], err = hashed(zip); err != nil {
			return nil, fmt.Errorf("packing function %s: %w", name, err)
		}
	}
	for _, p := range programs {
		binary := filepath.Join(out, "programs", p.Name)
		if err := compile(ctx, root, "./"+p.Source, p.Architecture, binary); err != nil {
			return nil, fmt.Errorf("building program %s: %w", p.Name, err)
		}
		if files[p.Name], err = hashed(binary); err != nil {
			return nil, fmt.Errorf("building program %s: %w", p.Name, err)
		}
	}
	return files, nil
}

func hashed(path string) (File, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return File{}, err
	}
	return File{Path: path, SHA256: fmt.Sprintf("%x", sha256.Sum256(raw))}, nil
}

// functionArchitecture is Go's name of what functions run on.
const functionArchitecture = "arm64"

func compile(ctx context.Context, root, source, architecture, binary string) error {
	cmd := exec.CommandContext(ctx, "go", //nolint:gosec // the names are this app's own list of functions
		"build", "-trimpath", "-buildvcs=false", "-tags", "lambda.norpc", "-ldflags", "-s -w -buildid=", "-o", binary, source)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+architecture, "GOWORK=off")
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
