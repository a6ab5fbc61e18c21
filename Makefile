# The commands for contributors. `make help` lists the targets.

SHELL := bash
.SHELLFLAGS := -o errexit -o nounset -o pipefail -c
.DEFAULT_GOAL := help

# Without --abbrev, its length depends on the number of objects in the clone.
VERSION := $(shell git describe --tags --always --dirty --abbrev=12 2>/dev/null)
LDFLAGS := -s -w $(if $(VERSION),-X main.version=$(VERSION))
FUZZTIME ?= 20s
MINUTES ?= 3

# The folders, as ./a/b, whose test files have a function with a name that begins with $(1).
tests_with = $(shell grep --recursive --files-with-matches --include='*_test.go' '^func $(1)' \
	cmd pipeline storage workers 2>/dev/null | xargs --no-run-if-empty dirname | sort --unique | sed 's,^,./,')

# The folders, as ./a/b, whose tests have sweeps.
sweeps = $(shell grep --recursive --files-with-matches --include='*_test.go' 'pipelinetest\.\(Sweep\|Whole\)' \
	cmd pipeline storage workers | xargs --no-run-if-empty dirname | sort --unique | sed 's,^,./,')

.PHONY: help build demo test sweep race lint spec generate fuzz bench sim cases corpus corpustest chaos mutate vuln licences sbom reproducible

# The module of the programs that check what the product is made of.
SUPPLY := deploy/tools/supply

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-12s  %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build ./bin/reelmill, a static binary
	CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '$(LDFLAGS)' -o bin/reelmill ./cmd/reelmill

demo: ## install ffmpeg if missing, build, start a server, process a clip (KEEP=1 leaves the server running until Ctrl-C)
	@.ci/install ffmpeg
	@$(MAKE) --no-print-directory build
	@deploy/demo.sh bin/reelmill

test: ## install missing programs, vet, and run every test; a skipped test is a failure
	@.ci/install
	go vet -tags corpus ./...
	.ci/test

# A sweep is a test of many similar cases, of which `make test` takes a sample (pipeline/pipelinetest).
sweep: ## run the packages that have sweeps with all cases of each, half an hour (ONLY=part of the name of a test)
	@.ci/install
	TEST_SWEEP=1 .ci/test -run '$(ONLY)' $(sweeps)

race: ## run every test under the race detector (needs gcc)
	@.ci/install
	go test -race -timeout 3h ./...

lint: ## check formatting, vet, and run golangci-lint if it is installed
	@unformatted=$$(gofmt -l cmd deploy pipeline storage workers); \
		[ -z "$$unformatted" ] || { printf 'gofmt -w %s\n' $$unformatted; exit 1; }
	go vet -tags corpus ./...
	@if command -v golangci-lint >/dev/null; then golangci-lint run ./...; \
		else echo 'golangci-lint is not installed: ran gofmt and go vet only'; fi

spec: ## check the OpenAPI document by the rules of Redocly (recommended) and Spectral (spectral:oas), and AsyncAPI by its parser
	@.ci/install
	@cd deploy/tools/openapi && export REDOCLY_TELEMETRY=off && \
		npx --no-install redocly lint ../../../pipeline/api/openapi.json && \
		npx --no-install spectral lint --fail-severity warn ../../../pipeline/api/openapi.json && \
		node asyncapi.mjs ../../../pipeline/api/asyncapi.json

generate: ## write anew what is made of the Go types: schemas of events, OpenAPI, AsyncAPI, the catalogue of errors
	go test ./pipeline -run TestSchemasAreGenerated -update
	go test ./pipeline/api -run 'TestErrorCatalogue$$' -update
	go test ./cmd/reelmill -run TestOpenAPIIsCommitted -update
	@.ci/install
	npm --prefix deploy/clients/typescript run generate

# Go spends a minute on shortening each input that reaches new code; with 100 tries, it fuzzes instead.
fuzz: ## run each fuzz target for FUZZTIME (20s)
	@.ci/install ffmpeg
	@for dir in $(call tests_with,Fuzz); do \
		for target in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' $$dir/*_test.go); do \
			echo "$$dir $$target"; \
			go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 100x $$dir; \
		done; \
	done

bench: ## compare with plain ffmpeg (ONLY=ready,... CLIP=film JSON=file), the API with its peers (ONLY=api API='-size 64MiB'), Go benchmarks (ONLY=go)
	@.ci/install ffmpeg
	@case '$(ONLY)' in api|go) ;; *) go run ./cmd/bench -only '$(ONLY)' -clip '$(CLIP)' $(if $(JSON),-json '$(JSON)') ;; esac
	@case '$(ONLY)' in ''|api) go run ./cmd/bench api $(if $(JSON),-json '$(JSON)$(if $(ONLY),,.api)') $(API) ;; esac
	@[ -z '$(ONLY)' ] || [ '$(ONLY)' = go ] || exit 0; \
		dirs='$(call tests_with,Benchmark)'; \
		[ -n "$$dirs" ] || { echo 'there are no benchmarks'; exit 0; }; \
		go test -run '^$$' -bench . -benchmem $$dirs

sim: ## simulate up to 1,000 slots with the costs of the last `make bench` (SIM='-hours 10')
	go run ./cmd/bench sim $(SIM)

cases: ## check files, clients and operations that broke elsewhere (ONLY=r15,m_mono LIST=1 JSON=file; ONLY='x_*': hostile files, ten minutes)
	@.ci/install ffmpeg
	go run ./cmd/cases -only '$(ONLY)' -json '$(JSON)' $(if $(LIST),-list)

corpus: ## measure every clip in CORPUS=DIR and its outputs, as a table in Markdown (ONLY=part of a name)
	@.ci/install ffmpeg
	@[ -n '$(CORPUS)' ] || { echo 'name the folder of the clips: make corpus CORPUS=DIR' >&2; exit 2; }
	@go run ./cmd/cases -corpus '$(CORPUS)' -only '$(ONLY)'

corpustest: ## run the tests that need real clips on every clip in CORPUS=DIR (ONLY=name of a test)
	@.ci/install ffmpeg
	@.ci/corpus '$(CORPUS)' '$(ONLY)'

chaos: ## run for MINUTES (3) under faults, and check that nothing is lost (SEED=n repeats choices; FAULTS=memory; JSON=file)
	@.ci/install ffmpeg
	go run ./cmd/chaos -minutes $(MINUTES) -seed $(or $(SEED),0) -faults '$(FAULTS)' -json '$(JSON)'

mutate: ## remove safeguards from the code, one at a time, and check that a test notices (ONLY=part of a name)
	go run ./cmd/chaos mutate $(if $(ONLY),'$(ONLY)')

vuln: ## check for known vulnerabilities in code that is called (VULNDB=URL REQUIRED=1: fail without a database)
	go -C $(SUPPLY) test ./vuln
	@go -C $(SUPPLY) run ./vuln $(if $(VULNDB),-db '$(VULNDB)') $(if $(REQUIRED),-required) '$(CURDIR)' ./...

licences: ## check that every linked module has a permissive licence
	go -C $(SUPPLY) test ./licences
	@go -C $(SUPPLY) run ./licences '$(CURDIR)' ./cmd/reelmill

sbom: build ## write bin/reelmill.cdx.json, what bin/reelmill is made of, and bin/THIRD-PARTY.txt, to go with it
	@.ci/install ffmpeg
	go -C $(SUPPLY) test ./sbom
	@go -C $(SUPPLY) run ./sbom -licences '$(CURDIR)' '$(CURDIR)/bin/reelmill' >bin/reelmill.cdx.json
	@go -C $(SUPPLY) run ./licences -notices '$(CURDIR)/bin/THIRD-PARTY.txt' '$(CURDIR)' ./cmd/reelmill >/dev/null
	@ls -l bin/reelmill.cdx.json bin/THIRD-PARTY.txt

reproducible: ## build the last commit twice, the second time as on another machine, and compare the binaries
	@.ci/reproducible
