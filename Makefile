# Building, testing and packing the registry. `make help` lists the targets.
#
# Needs a Rust toolchain; `test` also uses curl and openssl where they are there, and gets a Redis through apt-get
# where it may.
# CARGO_TARGET_DIR is respected.

.DEFAULT_GOAL := build
.NOTPARALLEL:
.PHONY: help build build.registry run fmt lint doc precommit check test test.all test.redis test.properties test.fuzz \
	test.image test.deploy test.swarm test.consul test.kubernetes test.simulation test.cluster interop bench cluster docker dockerize.registry release clean

TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
VERSION    := $(shell sed -n 's/^version *= *"\(.*\)"/\1/p' Cargo.toml | head -n 1)
REVISION   := $(or $(shell git describe --always --dirty --abbrev=12 --exclude='*' 2>/dev/null),unknown)
# The date of the commit, not of the build: the same sources give the same binary.
DATE       := $(or $(shell TZ=UTC git log -1 --date=format-local:%Y-%m-%dT%H:%M:%SZ --format=%cd 2>/dev/null),unknown)
ARCH       := $(shell uname -m)
NAME       := a8registry-$(VERSION)-$(ARCH)
STAMP      := A8_BUILD_VERSION=$(VERSION) A8_BUILD_REVISION=$(REVISION) A8_BUILD_DATE=$(DATE)

# With the Redis that the tests found or made.
REDIS_DIR  := $(abspath $(TARGET_DIR))/redis
WITH_REDIS := A8_TEST_FAKETIME="$(REDIS_DIR)/libfaketime.so" PATH="$(REDIS_DIR):$$PATH"
# Chapters in which Redis servers are killed, stopped and cut off, or several registries are under load; they take minutes.
REDIS_FAULTS := redis::clocks redis::cluster redis::faults redis::leases redis::nodes redis::sentinel
# What every other server has to do that the README names.
REDIS_CHAPTERS := redis::cluster redis::faults redis::leases redis::nodes redis::sentinel redis::sharing redis::versions \
	store_model::random_histories_look_the_same_in_redis

# What the long tests may cost.
FUZZ_SECONDS   ?= 60
PROPTEST_CASES ?= 5000
# Histories that a follower of Eureka's deltas must come out of with the full list; they are short.
FOLD_CASES     ?= 100000
PEER_MINUTES   ?= 5
# Of the registries of `make cluster`; 0 0 0 are free ones.
CLUSTER_PORTS  ?= 8081 8082 8083
# Worlds of replicating members, each decided by its number.
SIM_SEEDS      ?= 50000
# And of members with their connections, over a simulated network.
TURMOIL_SEEDS  ?= 2000

DOCKER       ?= docker
DOCKER_FLAGS ?=
IMAGE        ?= a8-registry:latest

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z.]+:.*## / { printf "  %-20s %s\n", $$1, $$2 }' Makefile

# The new binary replaces the old one by a rename, so that one that runs is not in the way.
build: ## release build, binary in ./bin/a8registry (default)
	$(STAMP) cargo build --release --locked --bin a8registry
	@mkdir -p bin
	@cp "$(TARGET_DIR)/release/a8registry" bin/a8registry.new && mv bin/a8registry.new bin/a8registry

build.registry: build ## the same as build

cluster: build ## build and start three registries that replicate, at ports 8081 to 8083 (CLUSTER_PORTS); Ctrl-C ends all
	@sh deploy/cluster.sh bin/a8registry $(CLUSTER_PORTS)

run: build ## build and start, instances kept in memory; flags in ARGS="..."
	./bin/a8registry $(ARGS)

fmt: ## format the sources
	cargo fmt

lint: ## clippy, warnings denied
	cargo clippy --locked --all-targets -- -D warnings

doc: ## documentation of the code, warnings denied
	RUSTDOCFLAGS="$(RUSTDOCFLAGS) -D warnings" cargo doc --locked --no-deps

precommit: ## format checked, lint, doc
	cargo fmt --check
	@$(MAKE) --no-print-directory lint doc

check: precommit test ## precommit and test

test: ## the short tests: units, the API, the store in Redis, the README's commands
	@sh tests/redis.sh "$(REDIS_DIR)"
	$(WITH_REDIS) cargo test --locked -- $(addprefix --skip ,$(REDIS_FAULTS))
	cargo build --locked --bin a8registry
	@bash tests/readme.sh "$(TARGET_DIR)/debug/a8registry"
	@sh tests/redis.sh left-out "$(REDIS_DIR)"
	@echo "left out: faults of Redis, a rolling restart under load, random histories and simulated clusters in large numbers, fuzzing, real Eureka clients and servers, a real Consul, a real Docker Swarm, a real Kubernetes API server, the image, the compose files; make test.all runs them"

test.all: test test.redis test.cluster test.properties test.simulation test.fuzz interop test.consul test.swarm test.kubernetes test.image test.deploy ## all tests, the long ones too

test.redis: ## the store in Redis: faults, sentinels, a cluster; then the tests of the APIs once more on it; other servers
	@sh tests/redis.sh "$(REDIS_DIR)"
	$(WITH_REDIS) cargo test --locked --test it -- redis
	$(WITH_REDIS) A8_TEST_STORE=redis cargo test --locked --test it -- --skip redis:: \
		amalgam8:: eureka:: leases:: peers:: tenancy::
	@sh tests/redis.sh versions "$(REDIS_DIR)"
	@for server in "$(REDIS_DIR)"/versions/*/redis-server; do \
		[ -x "$$server" ] || continue; \
		echo "on $$("$$server" --version)"; \
		PATH="$${server%/redis-server}:$$PATH" cargo test --locked --test it -- $(REDIS_CHAPTERS) || exit 1; \
	done
	@sh tests/redis.sh left-out "$(REDIS_DIR)" versions

test.cluster: ## members of a cluster as processes: killed, stopped, cut off; a rolling restart with 5 000 instances
	A8_TEST_LONG=1 cargo test --locked --release --test it -- cluster::

test.properties: ## random histories against a naive model, PROPTEST_CASES of each, and FOLD_CASES of Eureka's deltas
	PROPTEST_CASES=$(PROPTEST_CASES) FOLD_CASES=$(FOLD_CASES) cargo test --locked --release

test.simulation: ## SIM_SEEDS worlds of members that replicate over a failing network, TURMOIL_SEEDS with their connections
	SIM_SEEDS=$(SIM_SEEDS) TURMOIL_SEEDS=$(TURMOIL_SEEDS) cargo test --locked --release --test it -- \
		cluster_simulation:: cluster_turmoil:: --nocapture

test.fuzz: ## hostile bodies, queries and tokens for FUZZ_SECONDS
	sh tests/fuzz.sh "$(FUZZ_SECONDS)"

interop: build ## real Eureka clients and a real Eureka server against the binary (JDK, Maven, Python, Node, Go; network)
	python3 tests/interop/run.py --peer-minutes $(PEER_MINUTES) $(ARGS) bin/a8registry

test.consul: build ## a real Consul agent followed by the binary (Go; network)
	python3 tests/consul/follow.py bin/a8registry

test.kubernetes: build ## services of a real Kubernetes API server, and what deploy/ has for it (Go, openssl, Debian's etcd-server; network when it runs first)
	python3 tests/kubernetes/run.py bin/a8registry

test.image: ## the image built, run and stopped by a docker daemon of its own (root, Debian)
	bash tests/docker/image.sh

test.deploy: build ## the compose files in a docker daemon of its own, containers killed (root, Debian; Go when it runs first; network)
	python3 tests/deploy/run.py bin/a8registry

test.swarm: build ## the catalog of Docker Swarm: a docker daemon of its own as a swarm of one node (root, Linux)
	python3 tests/swarm/run.py bin/a8registry

bench: ## measure requests, memory and start beside a bare HTTP server; a store in Redis beside one in memory; clusters; catalogs
	$(STAMP) cargo build --release --locked --bin a8registry
	@sh tests/redis.sh "$(REDIS_DIR)"
	$(WITH_REDIS) cargo bench --locked --bench load -- $(ARGS)

docker: ## image a8-registry:latest
	$(DOCKER) build $(DOCKER_FLAGS) \
		--build-arg A8_BUILD_VERSION=$(VERSION) \
		--build-arg A8_BUILD_REVISION=$(REVISION) \
		--build-arg A8_BUILD_DATE=$(DATE) \
		-t $(IMAGE) .

dockerize.registry: docker ## the same as docker

release: build ## dist/a8registry-VERSION-ARCH.tar.gz with binary, README, LICENSE, swagger
	@rm -rf "dist/$(NAME)" && mkdir -p "dist/$(NAME)/swagger"
	@cp bin/a8registry README.md LICENSE "dist/$(NAME)/"
	@cp swagger/registry.json "dist/$(NAME)/swagger/"
	@tar -C dist -czf "dist/$(NAME).tar.gz" "$(NAME)"
	@rm -rf "dist/$(NAME)"
	@echo "dist/$(NAME).tar.gz"

clean: ## remove what was built; images stay
	cargo clean
	rm -rf bin dist
