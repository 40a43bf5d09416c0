# Each target's line of help stands behind its name.
SHELL := bash
.DEFAULT_GOAL := help
.SUFFIXES:
# Whatever cluster the caller's shell points at is not touched. A demo in a cluster of one's own: CLUSTER_KUBECONFIG=<file>.
unexport KUBECONFIG
export CLUSTER_KUBECONFIG

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: ## six systems, an API server and the operator on this machine: see a closure close and one halt; SYSTEMS=real: across products
	@SYSTEMS='$(SYSTEMS)' ./hack/demo

.PHONY: test
test: ## format, lints and all tests; half an hour to an hour the first time, then some eleven minutes
	@./hack/test

.PHONY: check
check: ## the part of `make test` that needs no API server: format, lints, proofs, unit tests; three minutes
	@./hack/test --without-a-cluster

.PHONY: proof
proof: ## the large scopes: model, simulation, fuzzing, mutants; hours
	@./hack/proof

.PHONY: lint
lint: ## format, lints, licences and sources of dependencies
	./hack/lint
	./hack/deny

.PHONY: fmt
fmt: ## format the code
	cargo fmt

.PHONY: bench
bench: controlplane ## what a closure costs, in CPU time, memory and requests; a release build the first time
	cargo build --locked --release
	cargo bench --locked --profile dev --bench closures

.PHONY: crds
crds: ## write crds/ anew from the Rust types
	UPDATE_CRDS=1 cargo test --locked --quiet --test crds

.PHONY: image
image: ## the image's parts, built and tried without a container engine: static binary, SBOM; ten minutes the first time
	@./hack/image

.PHONY: controlplane
controlplane: ## the API server that tests and demo use; five minutes the first time
	@./tests/controlplane/build.sh

.PHONY: test-systems
test-systems: controlplane systems ## every adapter against its real product; a server that is not there fails
	RELEASECLOSURE_SYSTEMS=required cargo test --locked --all-features --test systems --test conformance --test products

.PHONY: systems
systems: ## the real servers that adapters are tested against; fifteen to twenty-five minutes the first time
	@./tests/systems/build.sh

.PHONY: clean
clean: ## remove everything that was built
	cargo clean
	rm -rf .build
