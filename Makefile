# The commands for working on Stile. `make help` lists them.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# One setting for builds and tests, so that both share the build cache; no C compiler is needed.
export CGO_ENABLED := 0
export STILE_STATE ?= .stile

GO       ?= go
GOBUILD  := $(GO) build -trimpath -ldflags "-s -w"
# The programs that people install say which version they are.
RELEASE   = $(GO) build -trimpath -ldflags "-s -w -X github.com/stile-dev/stile/pkg/release.version=$$(scripts/version)"
HOSTILE  ?= 20s
PACKAGES := ./pkg/... ./cli/... ./agent/... ./proxy/... ./functions/... ./localstack/... ./scripts/...
# Whether the variable named is switched on: 1 or true. What is neither that nor off stops make.
on = $(if $(filter-out 1 true 0 false,$($(1))),$(error $(1)=$($(1)): say $(1)=1, or leave it out),$(if $(filter 1 true,$($(1))),true,false))
FUNCTIONS := $(patsubst functions/%/main.go,%,$(wildcard functions/*/main.go))

.PHONY: help up down demo duck test check lint fmt generate bench mutate withdraw race fuzz soak conformance synth schemas build packages clean
.PHONY: bin/stile bin/stile-agent bin/stile-agent-amd64 bin/stile-agent-arm64 bin/stile-proxy bin/localstack functions need vet unit infra-test duck-test integration

help: ## list the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1\t/' | expand -t 12

up: build ## build and start the whole system in the background, and wait for its nodes; for several of each: make up PROXIES=3 AGENTS=5
	@bin/localstack up -proxies "$(PROXIES)" -agents "$(AGENTS)"

down: ## stop what up started; what was created is kept
	@if [ -x bin/localstack ]; then bin/localstack down; else echo "nothing was built, so nothing is running"; fi

demo: ## run the session of README.md, each command with its output
	@scripts/demo

test: need ## vet, unit tests, the templates, then the whole system
	@$(MAKE) --no-print-directory vet unit infra-test duck-test integration

check: ## format, modernize, vet, lint and test: run it before every commit
	@$(MAKE) --no-print-directory fmt
	$(GO) fix -diff $(PACKAGES)
	@$(MAKE) --no-print-directory lint test

lint: .cache/bin/golangci-lint .cache/bin/deadcode ## run golangci-lint (building it the first time takes about 4 minutes) and find functions that nothing calls
	.cache/bin/golangci-lint run
	@scripts/dead

fmt: ## format all Go files
	@git ls-files -co --exclude-standard '*.go' | grep -v '\.gen\.go$$' | xargs gofmt -l -w

generate: ## regenerate what is generated from openapi.yaml
	$(GO) generate ./pkg/wire

bench: build duck ## compare with ssh, as docs/performance.md describes (HOSTILE=10m make bench: hostile peers for 10 minutes)
	@scripts/need ssh:openssh-client
	$(GO) test -run '^$$' -bench . -benchmem ./pkg/policy ./pkg/certs ./pkg/frame ./pkg/tunnel ./pkg/signature
	$(GO) test -run '^$$' -bench AMillion -benchtime 1x ./localstack/athena
	$(GO) test -run '^$$' -bench Hostile -benchtime $(HOSTILE) ./agent/sshd
	$(GO) run ./integration/bench -hostile $(HOSTILE)

mutate: ## break each rule in scripts/mutate/mutants.txt and expect a test in the same package to fail: make mutate ONLY=policy SINCE=HEAD~3 [UPDATE=1]
	$(GO) run ./scripts/mutate -only "$(ONLY)" -since "$(SINCE)" -update=$(call on,UPDATE)

withdraw: build ## take each right from its role, one at a time, and expect the tests that used it to fail (a good hour): make withdraw ONLY=sign-user
	$(GO) run ./integration/withdraw -only "$(ONLY)" -learnt "$(LEARNT)"

race: ## run the concurrent packages' tests under the race detector, which needs a C compiler
	@scripts/need gcc:gcc
	CGO_ENABLED=1 $(GO) test -race -timeout 20m ./agent/... ./proxy/... ./cli/... ./pkg/...

fuzz: ## run every fuzz target for T each, 10s by default: make fuzz T=1m
	@scripts/fuzz $(or $(T),10s)

soak: build ## run a separate system for T under revocations, kills and faults, and check it: make soak T=30m [REVOKED=60000]
	@scripts/need ssh:openssh-client
	@mkdir -p .cache/bin
	$(GO) build -o .cache/bin/soak ./integration/soak
	@.cache/bin/soak -t $(or $(T),30m) $(if $(REVOKED),-revoked $(REVOKED)) $(if $(KEEP),-keep "$(KEEP)")

conformance: $(if $(ENDPOINT),,bin/duck) ## test that the local AWS behaves like AWS; on a real account: make conformance ENDPOINT=aws (localstack/README.md)
	@mkdir -p .cache/bin
	$(GO) test -c -o .cache/bin/conformance ./localstack/conformance
	@cd localstack/conformance && exec ../../.cache/bin/conformance -test.parallel 16 -test.v=$(if $(ENDPOINT),true,false) \
		-endpoint "$(ENDPOINT)" -prefix "$(PREFIX)" -clean=$(call on,CLEAN) -nlb=$(call on,NLB)

synth: ## write infra/templates from the CDK app (needs node)
	@scripts/synth

schemas: ## fetch AWS's schemas of what infra/templates and their policies use, into infra/schema (needs npm)
	@scripts/schemas

build: bin/stile bin/stile-agent bin/stile-agent-amd64 bin/stile-agent-arm64 bin/stile-proxy bin/localstack functions ## build all programs into bin/

bin/stile:
	@$(RELEASE) -o $@ ./cli
bin/stile-agent:
	@$(RELEASE) -o $@ ./agent
bin/stile-agent-amd64 bin/stile-agent-arm64: bin/stile-agent-%:
	@GOOS=linux GOARCH=$* $(GOBUILD) -o $@ ./agent
bin/stile-proxy:
	@$(GOBUILD) -o $@ ./proxy
bin/localstack:
	@$(GOBUILD) -o $@ ./localstack
functions:
	@mkdir -p bin/functions
	@$(GOBUILD) -tags lambda.norpc -o bin/functions/ $(addprefix ./functions/,$(FUNCTIONS))

duck: bin/duck ## build what the local Athena runs queries with; it alone needs a C++ compiler

bin/duck: $(wildcard localstack/duck/*.go localstack/duck/*.sql localstack/duck/go.*)
	@scripts/need g++:g++
	@mkdir -p bin
	CGO_ENABLED=1 $(GO) -C localstack/duck build -trimpath -ldflags "-s -w" -o "$(CURDIR)/$@" .

packages: .cache/bin/nfpm ## build .deb and .rpm of the agent and the command line into dist/
	@scripts/packages/build dist

clean: down ## stop everything, and remove what was built and the local state
	@if [ -e "$$STILE_STATE" ] && ! [ -f "$$STILE_STATE/run/lock" ]; then \
		echo "$$STILE_STATE has no run/lock, so it is no state directory: remove it yourself, or correct STILE_STATE" >&2; exit 1; fi
	rm -rf bin dist .cache/integration "$$STILE_STATE"

need:
	@scripts/need git:git ssh:openssh-client ssh-keygen:openssh-client expect:expect tmux:tmux asciinema:asciinema zstd:zstd strace:strace node:nodejs curl:curl dpkg:dpkg systemd-analyze:systemd

vet:
	$(GO) vet $(PACKAGES)

unit: .cache/bin/nfpm bin/duck
	$(GO) test $(PACKAGES)

infra-test:
	$(GO) -C infra test ./...

duck-test: bin/duck
	CGO_ENABLED=1 $(GO) -C localstack/duck vet ./...
	CGO_ENABLED=1 $(GO) -C localstack/duck test ./...

integration: build bin/duck .cache/bin/nfpm
	$(GO) test -count=1 -timeout 25m ./integration/...

.cache/bin/golangci-lint: scripts/tools/lint/go.mod
	@mkdir -p .cache/bin
	$(GO) build -modfile=scripts/tools/lint/go.mod -o $@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint

.cache/bin/deadcode: scripts/tools/deadcode/go.mod
	@mkdir -p .cache/bin
	$(GO) build -modfile=scripts/tools/deadcode/go.mod -o $@ golang.org/x/tools/cmd/deadcode

.cache/bin/nfpm: scripts/tools/nfpm/go.mod
	@mkdir -p .cache/bin
	$(GO) build -modfile=scripts/tools/nfpm/go.mod -o $@ github.com/goreleaser/nfpm/v2/cmd/nfpm
