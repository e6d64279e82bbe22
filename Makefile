# Needs Python 3.11 or newer and make; everything else is fetched into .venv (and tests/*/node_modules).
# `make` alone lists the targets.

PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip install --quiet --disable-pip-version-check --require-hashes
WORKERS ?= 3
# Not for other servers: the supervisor starts ours, and what they log of broken frames is theirs.
OURS_ALONE := --ignore tests/cluster/test_served.py --deselect tests/cluster/test_hostile_input.py::test_bytes_of_any_kind \
	--ignore-glob 'tests/cluster/test_*http_*.py'
# Campaigns in short, requests of every kind, whole installations, and the bench: each is half a minute or more.
LONG_TESTS := $(wildcard $(addprefix tests/,bench/test_bench.py bench/test_jobs.py chaos/live/test_short.py chaos/test_short.py chaos/test_short_on_a_cluster.py \
	deploy/test_procedures.py hostile/test_short.py monitoring/test_rights_on_a_cluster.py networks/test_short.py ops/load/test_correlation.py \
	soak/test_short.py store/test_cluster_addresses.py store/test_cluster_failover.py \
	$(addprefix cluster/test_,api_document.py failover_under_load.py limits_burst.py live_pages.py many_behind_balancer.py other_servers.py \
	outbox_short.py redis_cluster_under_load.py redis_restarts_under_load.py reshard_short.py rolling_short.py)))
FOREIGN_SUITES := $(addprefix tests/foreign/,python_sdk.py go_sdk.py java_sdk.py clients_document.py)
# Over which transports and encodings the JavaScript SDK misses nothing: `make test` has some of them.
PAIRED := $(addprefix tests/cluster/test_,transports.py across_instances.py across_redis_outages.py conformance_recovery.py deltas.py filters_and_caches.py slow_links.py)
HOST_TESTS := $(addprefix tests/host/,installed.py served.py publishing.py outages.py quickstart.py live_board.py)
COMPOSE_TESTS := $(addprefix tests/compose/,across.py faults.py procedures.py rolling.py)
PACKAGES := flotilla project examples
# Of these, tests that kill, pause, configure or save a Redis skip themselves (tests/store/engine_process.py), some in
# their middle: what they had open is closed late, which is no warning there.
ON_THE_ENGINE := $(addprefix tests/,store/test_link.py store/test_shards.py presence ratelimit realtime/admin realtime/api \
	realtime/blocks realtime/client realtime/engine realtime/node realtime/webhooks realtime/test_lifespan.py monitoring examples)
# Tests that run the code in their own process, or in one they start themselves.
COVERED := $(addprefix tests/,realtime presence ratelimit monitoring store ops project examples flotilla) \
	$(addprefix --ignore ,$(LONG_TESTS))

# A stamp carries the checksum of what was installed: a changed lock is installed at the next call.
checksum = $(shell cat $(1) 2>/dev/null | cksum | cut -d' ' -f1)
RUN_STAMP := $(VENV)/installed-run-$(call checksum,requirements-examples.lock)
DEV_STAMP := $(VENV)/installed-dev-$(call checksum,requirements-dev.lock)
BENCH_STAMP := $(VENV)/installed-bench-$(call checksum,requirements-bench.lock)
DOCS_STAMP := $(VENV)/installed-docs-$(call checksum,requirements-docs.lock)
SPEEDUPS_STAMP := var/speedups-$(call checksum,speedups/build.py $(sort $(wildcard speedups/native/*)))
NODE_PROJECTS := $(filter-out tests/bench,$(patsubst %/package-lock.json,%,$(wildcard tests/*/package-lock.json)))

.DEFAULT_GOAL := help
.PHONY: help run test test-plain test-compose chaos hostile rolling drained burst revoke admin-scale drill \
	prove-dashboards load load-gate bench check lint types layers locks lock pin-images format clean \
	node-projects bench-node-project

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-17s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(RUN_STAMP) ## the platform with its demo: INSTANCES (2) processes on HOST:PORT (127.0.0.1:8000)
	@exec $(PY) manage.py serve --demo

test: $(DEV_STAMP) node-projects ## all tests but the long ones, in random order
	@exec $(PY) -m pytest -n $(WORKERS) --dist loadfile $(addprefix --ignore ,$(LONG_TESTS)) $(ARGS)

.PHONY: test-long test-foreign test-in-process test-engine
test-long: $(DEV_STAMP) node-projects ## the long ones: campaigns in short, whole installations, the bench, thousands of vanishing clients
	@FLOTILLA_TEST_ROUNDS=2000 exec $(PY) -m pytest -n $(WORKERS) --dist loadfile $(LONG_TESTS) tests/cluster/test_server_ends.py $(ARGS)

test-foreign: $(DEV_STAMP) ## the Python and the Go SDK's own tests, and the Java SDK, against the platform; three minutes, and two for the first compilation
	@exec $(PY) -m pytest $(FOREIGN_SUITES) $(ARGS)

.PHONY: test-pairs
test-pairs: $(DEV_STAMP) node-projects ## the JavaScript SDK over every transport and encoding, straight and behind HAProxy and nginx, through every fault; minutes
	@FLOTILLA_TEST_PAIRS=all exec $(PY) -m pytest -n $(WORKERS) --dist loadfile -k "transports or js-" $(PAIRED) $(ARGS)

.PHONY: test-host
test-host: $(DEV_STAMP) ## the wheel, installed into a foreign project beside its own apps, and the Quickstart in an empty folder; three minutes
	@exec $(PY) -m pytest $(HOST_TESTS) $(ARGS)

test-plain: $(DEV_STAMP) node-projects ## the cluster tests on another ASGI server, SERVER (uvicorn, or daphne as it comes)
	@FLOTILLA_TEST_SERVER=$(or $(SERVER),uvicorn) exec $(PY) -m pytest tests/cluster $(OURS_ALONE) $(ARGS)

.PHONY: test-routed
test-routed: $(DEV_STAMP) node-projects ## the cluster tests with an application around ours, so that every connection comes by ASGI
	@FLOTILLA_TEST_ROUTED=1 exec $(PY) -m pytest tests/cluster $(ARGS)

.PHONY: test-cluster
test-cluster: $(DEV_STAMP) node-projects ## the cluster tests on a Redis Cluster of 3 masters and 3 replicas in the place of each Redis; half an hour
	@FLOTILLA_TEST_ENGINE=cluster exec $(PY) -m pytest tests/cluster $(ARGS)

test-compose: $(DEV_STAMP) node-projects ## docker-compose.yml end to end: faults, alerts, a rolling restart, procedures; 15 minutes and a container engine
	@exec $(PY) -m pytest $(COMPOSE_TESTS) $(ARGS)

# Built from their sources, whose digests Go's own database of checksums has.
GO_TOOLS := $(CURDIR)/var/go-tools
.PHONY: test-deploy
test-deploy: $(DEV_STAMP) ## deploy/kubernetes by kustomize and kubeconform, the workflows by actionlint; needs Go, builds for some minutes once
	@for tool in github.com/yannh/kubeconform/cmd/kubeconform@v0.8.0 github.com/rhysd/actionlint/cmd/actionlint@v1.7.12 \
		sigs.k8s.io/kustomize/kustomize/v5@v5.7.1; do \
		GOBIN=$(GO_TOOLS) GOFLAGS=-buildvcs=false go install $$tool || exit 1; done
	@PATH="$(GO_TOOLS):$(CURDIR)/$(VENV)/bin:$$PATH" exec $(PY) -m pytest tests/deploy/go_tools.py $(ARGS)

.PHONY: wheel test-versions
wheel: $(DEV_STAMP) ## the distribution django-flotilla, as sdist and wheel, in dist/
	@rm -rf dist && exec $(PY) -m uv build --quiet --no-build-isolation --python $(PY)

# The pins of requirements-dev.txt, but for what is overridden; the other packages are the newest that fit.
VERSIONS = var/versions/$(if $(OLDEST),oldest,$(or $(DJANGO),5.2))
COMPILE = $(PY) -m uv pip compile --quiet --no-header --no-annotate
test-versions: $(DEV_STAMP) ## tests in this Python on another DJANGO (6.0, 6.1), or on the oldest packages of our ranges (OLDEST=1)
	@rm -rf $(VERSIONS) && mkdir -p $(VERSIONS)
	@$(if $(OLDEST),$(COMPILE) --resolution lowest-direct --all-extras --output-file $(VERSIONS)/overrides.txt pyproject.toml, \
		echo "Django~=$(or $(DJANGO),5.2).0" > $(VERSIONS)/overrides.txt)
	@$(COMPILE) --generate-hashes --override $(VERSIONS)/overrides.txt --output-file $(VERSIONS)/requirements.lock \
		$(VERSIONS)/overrides.txt requirements-dev.txt
	@$(PY) -m uv venv --quiet --python $(PY) $(VERSIONS)/venv
	@$(PY) -m uv pip install --quiet --python $(VERSIONS)/venv/bin/python --require-hashes -r $(VERSIONS)/requirements.lock
	@exec $(VERSIONS)/venv/bin/python -m pytest -n $(WORKERS) --dist loadfile $(or $(ARGS),$(COVERED))

.PHONY: fuzz
fuzz: $(DEV_STAMP) ## fuzzers of all that clients can send, by SEED (the time), each for SECONDS (60)
	@FLOTILLA_FUZZ_SECONDS=$(or $(SECONDS),60) FLOTILLA_FUZZ_SEED=$(or $(SEED),$(shell date +%s)) \
		exec $(PY) -m pytest $(wildcard tests/*/test_fuzz_*.py tests/*/*/test_fuzz_*.py) tests/cluster/test_api_document.py $(ARGS)

chaos: $(DEV_STAMP) ## MINUTES (5) of every fault under load, by SEED, on SHARDS (1) Redises or ENGINE=cluster: nothing lost, doubled or left behind
	@exec $(PY) -m tests.chaos.run --minutes $(or $(MINUTES),5) \
		$(if $(SEED),--seed $(SEED)) $(if $(SHARDS),--shards $(SHARDS)) $(if $(ENGINE),--engine $(ENGINE)) $(ARGS)

.PHONY: live-chaos outbox
live-chaos: $(DEV_STAMP) node-projects ## MINUTES (3) of every fault, by SEED, while rows change: every tab shows what was committed; needs PostgreSQL
	@exec $(PY) -m tests.chaos.live.run --minutes $(or $(MINUTES),3) $(if $(SEED),--seed $(SEED)) $(ARGS)

.PHONY: networks
networks: $(DEV_STAMP) ## MINUTES (40) of links between hosts that are cut, half-open, slow, for 10 and 60 s, by SEED: needs root, haproxy, PostgreSQL
	@exec $(PY) -m tests.networks.run --minutes $(or $(MINUTES),40) $(if $(SEED),--seed $(SEED)) $(ARGS)

outbox: $(DEV_STAMP) ## minutes: 10,000 durable messages through kills and restarts, in PostgreSQL and SQLite: exactly what was committed
	@exec $(PY) -m tests.cluster.campaigns.outbox $(ARGS)

hostile: $(DEV_STAMP) ## half an hour: every attack on a live instance, directly and behind HAProxy: nobody else notices; ARGS="--only pings"
	@exec $(PY) -m tests.hostile.run --behind both $(ARGS)

.PHONY: soak
soak: $(BENCH_STAMP) ## MINUTES (30) of everything at steady rates: no memory, file, task, key or row grows; into var/soak
	@exec $(PY) -m tests.soak.run --minutes $(or $(MINUTES),30) $(ARGS)

rolling: $(DEV_STAMP) ## a rolling restart under 1,000 clients and 200 publications/s: nothing lost, no error, no storm
	@exec $(PY) -m tests.cluster.campaigns.rolling $(ARGS)

.PHONY: reshard
reshard: $(DEV_STAMP) ## one Redis becomes two, then three, then one, under load and faults: everybody whole or told, nothing left behind
	@exec $(PY) -m tests.cluster.campaigns.reshard $(ARGS)

.PHONY: failover
failover: $(DEV_STAMP) ## a quarter of an hour: failovers of Redis under load, planned, by kills, hangs and cuts: times, losses, who was told
	@exec $(PY) -m tests.cluster.campaigns.failover $(ARGS)

drained: $(DEV_STAMP) ## SIGTERM to an instance with 5,000 clients: when it has ended, and how they came back
	@exec $(PY) -m tests.cluster.campaigns.drained $(ARGS)

burst: $(DEV_STAMP) ## minutes of a hard burst on the rate limits through 2 and 3 instances: no overshoot
	@exec $(PY) -m tests.cluster.campaigns.burst $(ARGS)

revoke: $(DEV_STAMP) ## a minute: revoke the access of 200 of 2,000 members over two instances, and time it
	@exec $(PY) -m tests.cluster.campaigns.revoke $(ARGS)

admin-scale: $(DEV_STAMP) ## minutes: 100,000 connections, and how long each of the admin's pages takes then
	@exec $(PY) -m tests.cluster.campaigns.admin_scale $(ARGS)

drill: $(DEV_STAMP) ## break a cluster with Prometheus and Alertmanager, and time the alerts: DRILLS (short), or all
	@exec $(PY) manage.py check_alerts --drill $(or $(DRILLS),short)

prove-dashboards: $(DEV_STAMP) ## each query of the Grafana dashboards under load, with its values; faults move the panels
	@exec $(PY) manage.py prove_dashboards

load: $(RUN_STAMP) ## does the SLO hold under load: PROFILE (smoke, soft, hard, reconnect, nightly), TARGET (ws://host:port)
	@exec $(PY) manage.py loadtest --profile $(or $(PROFILE),smoke) $(if $(TARGET),--target $(TARGET)) $(ARGS)

load-gate: $(DEV_STAMP) ## proves the gate of `make load`: delay, drops, a generous limiter and too little data must fail
	@exec $(PY) -m pytest tests/ops/load/gate.py $(ARGS)

bench: $(BENCH_STAMP) bench-node-project ## Flotilla beside others, some three hours; ARGS="--only fanout --servers flotilla,cfloor --quick"
	@exec $(PY) -m tests.bench.run $(ARGS)

.PHONY: test-peers
test-peers: $(DEV_STAMP) bench-node-project ## the servers that the bench compares with, in short; needs Go and Node, compiles for minutes once
	@exec $(PY) -m pytest tests/bench/peers.py $(ARGS)

.PHONY: bench-compare
bench-compare: $(DEV_STAMP) ## what an operation costs beside revision BASE (the last tag, or the commit before): fails beyond noise; ARGS="--only publish,connect --quick"
	@exec $(PY) -m tests.bench.compare --base $(or $(BASE),auto) $(ARGS)

.PHONY: measure-costs check-model
measure-costs: $(DEV_STAMP) ## what each operation costs, for `manage.py plan --costs`: half an hour, into var/bench/costs.json; ARGS="--rounds 1"
	@exec $(PY) -m tests.bench.costs.run $(ARGS)

check-model: $(DEV_STAMP) ## what `manage.py plan` predicts beside runs of three sizes on this machine: ten minutes; by var/bench/costs.json if there
	@exec $(PY) -m tests.bench.costs.run --check $(ARGS)

.PHONY: docs docs-serve reference
docs: $(DOCS_STAMP) ## the documents as a site in var/site: every link and anchor checked, a warning is an error
	@exec $(PY) -m docs.site.build

docs-serve: docs ## the same, on http://127.0.0.1:8080 (PORT)
	@exec $(PY) -m http.server --bind 127.0.0.1 --directory var/site $(or $(PORT),8080)

reference: $(DEV_STAMP) ## what is made from the code in docs/: SETTINGS.md, FUNCTIONS.md, COMMANDS.md, METRICS.md
	@exec $(PY) -m docs.site.build --reference

test-in-process: $(DEV_STAMP) ## the tests that need a Redis and do it no harm, on the engine in the process
	@FLOTILLA_TEST_ENGINE=memory exec $(PY) -m pytest -W ignore::pytest.PytestUnraisableExceptionWarning $(ON_THE_ENGINE) $(ARGS)

test-engine: $(DEV_STAMP) ## the same tests on another engine: ENGINE=cluster, a Redis Cluster of three masters
	@FLOTILLA_TEST_ENGINE=$(or $(ENGINE),cluster) exec $(PY) -m pytest -W ignore::pytest.PytestUnraisableExceptionWarning $(ON_THE_ENGINE) $(ARGS)

check: lint types layers locks ## lint, format, types and layers; are the lock files current (before each commit: `pre-commit install`)

lint: $(DEV_STAMP)
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

types: $(DEV_STAMP)
	$(PY) -m mypy --strict $(PACKAGES)
	$(PY) -m mypy --strict -p docs.site

layers: $(DEV_STAMP)
	$(VENV)/bin/lint-imports --no-cache

locks: $(DEV_STAMP)
	$(PY) deploy/locks.py check

.PHONY: coverage
coverage: $(DEV_STAMP) ## which share of the code, by branches, the tests without browsers and clusters run; ARGS=tests/store for others
	@rm -rf var/coverage && mkdir -p var/coverage
	@$(PY) -m coverage run -m pytest -n $(WORKERS) --dist loadfile $(or $(ARGS),$(COVERED)) || echo "some tests failed: what follows is of all that ran"
	@$(PY) -m coverage combine --quiet && $(PY) -m coverage html --quiet && $(PY) -m coverage report

lock: $(DEV_STAMP) ## requirements*.lock from requirements*.txt: every package with its hashes; ARGS=--upgrade takes what is new
	@exec $(PY) deploy/locks.py write $(ARGS)

pin-images: ## the digests of images and actions whose tags moved on; needs docker, crane or skopeo, and git
	@exec $(or $(wildcard $(PY)),$(PYTHON)) deploy/digests.py $(ARGS)

format: $(DEV_STAMP) ## format the code with ruff
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

clean: ## remove what was installed and cached; var/, with the database and Redis's data, stays
	rm -rf $(VENV) flotilla/*.so var/speedups-* .mypy_cache .ruff_cache .pytest_cache .hypothesis $(addsuffix /node_modules,$(NODE_PROJECTS) tests/bench)
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(PY):
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed (set PYTHON=/path/to/python3.x)"; exit 1; }
	$(PYTHON) -m venv $(VENV)

# The native part, where there is a C compiler; where there is none, Python does its work.
$(SPEEDUPS_STAMP): | $(PY)
	@$(PY) flotilla/speedups/build.py || true
	@mkdir -p var && rm -f var/speedups-* && touch $@

$(RUN_STAMP): | $(PY) $(SPEEDUPS_STAMP)
	@echo "installing requirements-examples.lock into $(VENV) …"
	@$(PIP) -r requirements-examples.lock
	@rm -f $(VENV)/installed-run-* && touch $@

$(DEV_STAMP): | $(PY) $(SPEEDUPS_STAMP)
	@echo "installing requirements-dev.lock into $(VENV) …"
	@$(PIP) -r requirements-dev.lock
	@rm -f $(VENV)/installed-dev-* && touch $@

$(BENCH_STAMP): | $(PY) $(SPEEDUPS_STAMP)
	@echo "installing requirements-bench.lock into $(VENV) …"
	@$(PIP) -r requirements-bench.lock
	@rm -f $(VENV)/installed-bench-* && touch $@

$(DOCS_STAMP): | $(PY) $(SPEEDUPS_STAMP)
	@echo "installing requirements-docs.lock into $(VENV) …"
	@$(PIP) -r requirements-docs.lock
	@rm -f $(VENV)/installed-docs-* && touch $@

# npm is optional: without it what needs it is skipped by name.
define npm_ci
@command -v npm >/dev/null 2>&1 || exit 0; for project in $(1); do \
		stamp=$$project/node_modules/.installed-$$(cksum < $$project/package-lock.json | cut -d' ' -f1); \
		test -e $$stamp || { echo "npm ci in $$project …"; \
			(cd $$project && npm ci --silent --no-audit --no-fund) && touch $$stamp || exit 1; }; \
	done
endef

node-projects:
	$(call npm_ci,$(NODE_PROJECTS))

bench-node-project:
	$(call npm_ci,tests/bench)
