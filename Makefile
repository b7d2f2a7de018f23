# The only commands that anybody has to know. Each is a script under scripts/, which says what it does.

ARGS ?=
SIZE ?= long

.DEFAULT_GOAL := help
.PHONY: help run test check bench docs faults

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' Makefile

run: ## Build and start everything in one process, with a page that moves (ARGS="--port 9000 --rate 5")
	@sh scripts/run.sh $(ARGS)

test: ## Fetch what tests need, build, run every test against real parts (ARGS: for cargo test)
	@bash scripts/test.sh $(ARGS)

check: ## Formatting, lints, layers, generated pages and links, shell scripts, licences
	@bash scripts/check.sh

bench: ## Measure the gateway against the floors of this machine, and write docs/perf
	@sh scripts/bench.sh $(ARGS)

faults: ## Kill real brokers, Redis, capture and gateways under load, and judge (SIZE=ci, storm or alerts, ARGS="--seed 7")
	@bash scripts/faults.sh $(SIZE) $(ARGS)

docs: ## Write the generated pages of docs/reference and check every link
	@sh scripts/docs.sh
