package layout

import (
	"go/ast"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

const (
	sdk    = "github.com/aws/aws-sdk-go-v2/service/"
	lambda = "github.com/aws/aws-lambda-go/"
)

// services are the services of AWS that a function may call, and the right without which it contains no client of one.
var services = map[string]*regexp.Regexp{
	"athena":      right(`athena `),
	"dynamodb":    right(`item `),
	"ecr":         right(`image `),
	"eventbridge": right(`events `),
	"kms":         right(`key `),
	"lambda":      right(`function `),
	"s3":          right(`object `),
	"sqs":         right(`queue `),
	"sts":         right(`sts `),
}

// serving is code that answers HTTP requests: a package and what is below it, or the names in it that do.
var serving = []struct {
	pkg   string
	names *regexp.Regexp // nil: all of it
}{
	{"github.com/awslabs/aws-lambda-go-api-proxy", nil},
	{lambda + "lambdaurl", nil},
	{"net/http/cgi", nil},
	{"net/http/fcgi", nil},
	{lambda + "events", regexp.MustCompile(`^(APIGateway|LambdaFunctionURL|ALB)`)},
	{"net/http", regexp.MustCompile(
		`^(Server|Serve.*|ListenAndServe.*|Handle|HandleFunc|HandlerFunc|NewServeMux|DefaultServeMux|ResponseWriter|.*Handler)$`,
	)},
}

// outside: no package in a function calls a service for which the function has no right, or serves when it has no API.
func (f function) outside(p *Package, by string) []Violation {
	var out []Violation
	for _, to := range p.Imports {
		rest, isService := strings.CutPrefix(to, sdk)
		service, _, _ := strings.Cut(rest, "/")
		if may := services[service]; isService && (may == nil || !may.MatchString(f.rights)) {
			out = append(out, Violation{p.Dir, to, "the function has no right in this service" + by})
		}
	}
	if f.serves {
		return out
	}
	const idle = "the function has no operation in openapi.yaml, so it serves nothing"
	for _, s := range serving {
		for _, to := range p.Imports {
			if s.names == nil && under(to, s.pkg) {
				out = append(out, Violation{p.Dir, to, idle + by})
			}
		}
		for _, file := range p.Files {
			for _, use := range file.selected(s.pkg) {
				if s.names != nil && (use.name == "*" || s.names.MatchString(use.name)) {
					out = append(out, Violation{use.at, path.Base(s.pkg) + "." + use.name, idle + by})
				}
			}
		}
	}
	return out
}

// outward are packages of the standard library by which a function's own files could do what its packages may not.
var outward = []string{"crypto/tls", "net", "net/http", "net/rpc", "net/smtp", "os/exec", "plugin", "reflect", "syscall", "unsafe"}

// calls are names of methods of the services' clients, which a generic function can call without naming their types.
var calls = strings.Fields(`
	BatchExecuteStatement BatchWriteItem DeleteItem ExecuteStatement ExecuteTransaction PutItem TransactWriteItems UpdateItem
	StartQueryExecution StopQueryExecution
	CopyObject CreateMultipartUpload DeleteObject DeleteObjects PutObject UploadPart
	DeleteMessage PurgeQueue ReceiveMessage SendMessage SendMessageBatch
	GenerateMac Sign VerifyMac Invoke InvokeAsync InvokeWithResponseStream
	BatchDeleteImage CompleteLayerUpload InitiateLayerUpload PutImage UploadLayerPart`)

// assembly: a function's own files put packages of pkg together, and make the clients for them; that is all.
func assembly(p *Package) []Violation {
	var out []Violation
	for _, to := range p.Imports {
		dir, ours := folder(to)
		switch {
		case ours && under(dir, "pkg/table"):
			out = append(out, Violation{p.Dir, to, "a function's own files reach no item but by a package that says which"})
		case slices.Contains(outward, to), under(to, "net/http"):
			out = append(out, Violation{p.Dir, to, "a function's own files reach out by packages of pkg alone"})
		case !ours && !standard(to) && to != lambda+"lambda" && services[strings.TrimPrefix(to, sdk)] == nil:
			out = append(out, Violation{p.Dir, to, "a function's own files import only our packages, lambda and the clients of services"})
		}
	}
	for _, f := range p.Files {
		for _, service := range slices.Sorted(maps.Keys(services)) {
			for _, use := range f.selected(sdk + service) {
				if use.name != "NewFromConfig" {
					out = append(out, Violation{use.at, service + "." + use.name, "a function's own files make a client and don't use it"})
				}
			}
		}
		ast.Inspect(f.AST, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok && slices.Contains(calls, s.Sel.Name) {
				out = append(out, Violation{f.at(s), s.Sel.Name, "a function's own files make a client and don't use it"})
			}
			return true
		})
	}
	return out
}

// loaded: no code imports a folder that isn't in the tree, such as testdata: no rule would see what that imports.
func (t *Tree) loaded(p *Package) []Violation {
	var out []Violation
	for _, to := range p.Imports {
		if dir, ours := folder(to); ours && t.Packages[dir] == nil {
			out = append(out, Violation{p.Dir, to, "no rule sees this folder: put its code elsewhere"})
		}
	}
	return out
}

// selected finds all selections from an imported package; "*" is an import by dot, which hides them.
func (f File) selected(pkg string) []use {
	var out []use
	locals := map[string]bool{}
	for _, i := range f.AST.Imports {
		if to, err := strconv.Unquote(i.Path.Value); err != nil || to != pkg {
			continue
		}
		switch {
		case i.Name == nil:
			locals[path.Base(pkg)] = true
		case i.Name.Name == ".":
			out = append(out, use{f.at(i), "*"})
		default:
			locals[i.Name.Name] = true
		}
	}
	ast.Inspect(f.AST, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := s.X.(*ast.Ident); ok && locals[x.Name] {
				out = append(out, use{f.at(s), s.Sel.Name})
			}
		}
		return true
	})
	return out
}
