// Package wire holds the models of the HTTP API, generated from openapi.yaml, and the table of its routes.
//
// It knows no HTTP library and decides nothing. Its entry point is [Routes].
package wire

//go:generate go tool -modfile=../../scripts/tools/oapi/go.mod oapi-codegen -config oapi.yaml ../../openapi.yaml
//go:generate go run ../../scripts/generate/routes ../../openapi.yaml routes.gen.go
