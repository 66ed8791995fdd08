# oncelog: every target works on a fresh machine that has Go alone.
SHELL := /bin/bash
GOLANGCI_LINT := go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
BIN := bin/oncelog
DATA ?= data
FUZZTIME ?= 30s
BENCH ?=
BENCHTIME ?= 1s
CASES ?= 1000
MINUTES ?= 5
KILLS ?= 30
PAUSES ?= 5
ROLLS ?= 5
PROFILE ?= default
REPORT ?= bin/failover

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-12s %s\n", $$1, $$2}'

.PHONY: build
build: ## build bin/oncelog, static: without cgo it needs less memory
	CGO_ENABLED=0 go build -o $(BIN) ./cmd/oncelog

.PHONY: cluster
cluster: build ## three nodes on this machine, on ports 8080, 8081 and 8082; Ctrl-C stops them
	@exec $(BIN) cluster --data-dir $(DATA)

.PHONY: demo
demo: build ## a cluster under load, its leader killed and brought back, and the verdict
	@exec $(BIN) demo

.PHONY: test
test: ## every test, with the race detector
	go test -race -pgo=off -count=1 -timeout 15m ./...

.PHONY: race
race: test ## the same as test

.PHONY: model
model: ## the state machine against a model of it, CASES random logs (1000)
	go test -run TestReplicasAgreeWithTheModelAndEachOther ./raftfsm -rapid.checks=$(CASES)

.PHONY: chaos
chaos: ## the nemesis: faults by chance under load, MINUTES long (5), again with SEED=, some with ONLY=disk
	ONCELOG_SEED=$(SEED) ONCELOG_MINUTES=$(MINUTES) ONCELOG_ONLY='$(ONLY)' go test ./cluster -run '^TestNemesis$$' -count=1 -v -timeout 0

.PHONY: faults
faults: ## the tests of all faults, COUNT times each (20); some with ONLY=Clock
	@COUNT="$(COUNT)" ONLY="$(ONLY)" .ci/faults

.PHONY: failover
failover: ## what a lost leader costs: KILLS (30), PAUSES (5), ROLLS (5), PROFILE (default); tables, and JSON in REPORT (bin/failover)
	ONCELOG_KILLS=$(KILLS) ONCELOG_PAUSES=$(PAUSES) ONCELOG_ROLLS=$(ROLLS) ONCELOG_RAFT_PROFILE=$(PROFILE) ONCELOG_REPORT=$(abspath $(REPORT)) \
		go test ./cluster -run '^(TestLeaderKilledAgainAndAgain|TestLeaderPausedAgainAndAgain|TestRollingRestart)$$' -count=1 -v -timeout 0

.PHONY: saturate
saturate: ## no election in MINUTES (5) of more load than the machine can take, PROFILE (default)
	ONCELOG_SATURATED=$(MINUTES)m ONCELOG_RAFT_PROFILE=$(PROFILE) go test ./cluster -run '^TestSaturatedNodesKeepTheirLeader$$' -count=1 -v -timeout 0

.PHONY: lint
lint: ## the linter, at its pinned version
	$(GOLANGCI_LINT) run ./...

.PHONY: fuzz
fuzz: ## every fuzz target in turn, FUZZTIME each (30s)
	@set -e; go list ./... | while read -r pkg; do \
		for target in $$(go test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
			echo "== $$pkg $$target"; \
			go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$pkg; \
		done; \
	done

.PHONY: bench
bench: build ## a whole cluster measured, about two minutes; BENCH="--rounds 5" and so on
	@exec $(BIN) bench $(BENCH)

.PHONY: bench-go
bench-go: ## the Go benchmarks of every room, BENCHTIME each (1s)
	go test -run '^$$' -bench . -benchmem -benchtime $(BENCHTIME) ./...

.PHONY: compare
compare: ## the same load through oncelog and NATS JetStream, in turns; COMPARE="--workload single"
	cd loadgen/compare && go run . $(COMPARE)

.PHONY: compare-check
compare-check: ## the comparison's own tests and linter: it is a module of its own
	cd loadgen/compare && go mod tidy -diff && go test -pgo=off -count=1 ./... && $(GOLANGCI_LINT) run ./...

.PHONY: pgo
pgo: build ## a new profile for the compiler, from a run of the benchmark
	rm -rf bin/profiles && $(BIN) bench --only single,batch,read-followers,stale-followers,scan-raw --rounds 1 --profile-dir bin/profiles
	go tool pprof -proto bin/profiles/*.pprof > cmd/oncelog/default.pgo

.PHONY: tidy-check
tidy-check: ## fail if go.mod or go.sum are not tidy
	go mod tidy -diff
