# SPDX-License-Identifier: Apache-2.0
# Builds, tests and runs shardcap. `make help` lists the targets.
#
# Variants live beside each other: SANITIZE=address,undefined builds into build/address,undefined.

SHELL := /bin/bash
.DEFAULT_GOAL := all

# What a Debian 12 machine needs: to build and run; for the demo; to test; to format and lint. The only lists there are.
PACKAGES := gcc make libc6-dev libpcap-dev libevent-dev libnanomsg-dev libjansson-dev zlib1g-dev libncurses-dev libcap-dev \
	libseccomp-dev libisal-dev libdeflate-dev libpng-dev
PACKAGES_DEMO := curl iproute2 python3 tcpdump util-linux
PACKAGES_TEST := libcmocka-dev python3 tshark tcpdump nanomsg-utils iproute2 curl clang valgrind binutils tar \
	man-db systemd python3-yaml python3-prometheus-client runit
PACKAGES_DEV := clang libclang-rt-14-dev clang-format clang-tidy cppcheck python3 binutils debhelper dpkg-dev lintian \
	prometheus chromium

ifeq ($(origin CC),default)
CC := gcc
endif
SANITIZE ?=
BUILD := build$(if $(SANITIZE),/$(SANITIZE))
BIN := $(BUILD)/bin

VERSION := 0.1.0
ifndef COMMIT
COMMIT := $(shell git rev-parse --short=7 HEAD 2>/dev/null || echo unknown)
endif

WARN := -Wall -Wextra -Wshadow -Wconversion -Werror
OPT ?= $(if $(SANITIZE),-O1 -fno-omit-frame-pointer,-O2)
SAN := $(if $(SANITIZE),-fsanitize=$(SANITIZE) $(if $(findstring undefined,$(SANITIZE)),-fno-sanitize-recover=undefined))
# CRASHPOINTS=1: shards can be told to die at places with a name (shard/crashpoint.h). A build of its own, for tests.
CPPFLAGS += -D_GNU_SOURCE -I. $(if $(CRASHPOINTS),-DSHARDCAP_CRASHPOINTS)
CFLAGS += -std=c17 $(WARN) $(OPT) -g -pthread $(SAN)
LDFLAGS += -pthread $(SAN)

# One archive per room of the house; each program links its own and the ground floor, and names its libraries, so that
# the linker keeps libpcap and nanomsg out of the processes that must not have them.
ROOMS := supervisor capture hub ctl
src_shared := $(wildcard shared/*.c)
src_shard := $(wildcard shard/*.c)
$(foreach r,$(ROOMS),$(eval src_$(r) := $(wildcard dispatcher/$(r)/*.c)))

program_supervisor := shardcap
program_capture := shardcap-dispatcher
program_hub := shardcap-hub
program_ctl := shardcapctl
program_shard := shardcap-shard

# Faster compression where its development packages are installed; NO_ISAL=1 and NO_LIBDEFLATE=1 build without.
number_sign := \#
probe = $(shell printf '$(number_sign)include <$(1)>\nint main(void) { return 0; }\n' | \
	$(CC) -x c - $(2) -o /dev/null 2>/dev/null && echo $(2))
lib_isal := $(if $(NO_ISAL),,$(call probe,isa-l.h,-lisal))
lib_libdeflate := $(if $(NO_LIBDEFLATE),,$(call probe,libdeflate.h,-ldeflate))
codec_flags := $(if $(lib_isal),-DSC_ISAL) $(if $(lib_libdeflate),-DSC_LIBDEFLATE)
codecs := zlib$(if $(lib_libdeflate), libdeflate)$(if $(lib_isal), ISA-L)

libs_supervisor := -levent_core -lcap
libs_capture := -lpcap -levent_core -lcap -lseccomp
libs_hub := -lnanomsg -levent -ljansson -lcap -lseccomp -lm
libs_ctl := -lnanomsg -ljansson -lpcap -lz -lpng -lncurses -ltinfo
libs_shard := -lnanomsg -levent_core -ljansson -lz $(lib_isal) $(lib_libdeflate) -lcap -lseccomp
libs_all := -lnanomsg -levent -lpcap -ljansson -lz -lpng $(lib_isal) $(lib_libdeflate) -lcap -lseccomp -lm

# One short line per step; V=1 shows the commands.
Q := $(if $(V),,@)
say = @$(if $(V),:,printf '  %s  %s\n' $(1) $(2))

objs = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))
ALL_ROOMS := shared shard $(ROOMS)
$(foreach r,$(ALL_ROOMS),$(eval lib_$(r) := $(BUILD)/lib/lib$(r).a))

# Under sudo, what is built still belongs to the person who called.
AS_CALLER := $(if $(SUDO_UID),$(if $(filter 0,$(shell id -u)),setpriv --reuid=$(SUDO_UID) --regid=$(SUDO_GID) \
	--clear-groups))
programs := $(foreach r,shard $(ROOMS),$(if $(filter %/main.c,$(src_$(r))),$(BIN)/$(program_$(r))))

.PHONY: all
ifeq ($(AS_CALLER),)
all: $(programs) ## Build the programs into build/bin (default)
else
all:
	+$(AS_CALLER) $(MAKE) --no-print-directory all
endif

$(BUILD)/obj/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c $< -o $@

# The commit and the choice of codecs are compiled into few objects, which are rebuilt only when they change.
$(BUILD)/obj/shared/version.o: CPPFLAGS += -DSC_VERSION='"$(VERSION)"' -DSC_COMMIT='"$(COMMIT)"' \
	-DSC_CODECS='"$(codecs)"'
$(BUILD)/obj/shared/version.o: $(BUILD)/commit $(BUILD)/codecs
$(BUILD)/obj/shard/encoder_isal.o $(BUILD)/obj/shard/encoder_libdeflate.o: CPPFLAGS += $(codec_flags)
$(BUILD)/obj/shard/encoder_isal.o $(BUILD)/obj/shard/encoder_libdeflate.o: $(BUILD)/codecs
$(BUILD)/codecs: FORCE
	@mkdir -p $(@D)
	@echo '$(codecs)' | cmp -s - $@ || echo '$(codecs)' > $@
$(BUILD)/commit: FORCE
	@mkdir -p $(@D)
	@echo '$(VERSION) $(COMMIT)' | cmp -s - $@ || echo '$(VERSION) $(COMMIT)' > $@
.PHONY: FORCE
FORCE:

define archive_rule
$(lib_$(1)): $(filter-out %/main.o,$(call objs,$(src_$(1))))
	@mkdir -p $$(@D)
	@rm -f $$@
	$$(Q)ar rcs $$@ $$^
endef
$(foreach r,$(ALL_ROOMS),$(eval $(call archive_rule,$(r))))

define program_rule
$(BIN)/$(program_$(1)): $(filter %/main.o,$(call objs,$(src_$(1)))) $(lib_$(1)) $(lib_shared)
	@mkdir -p $$(@D)
	$$(call say,LD,$$@)
	$$(Q)$(CC) $(LDFLAGS) $$^ -Wl,--as-needed $(libs_$(1)) -o $$@
endef
$(foreach r,shard $(ROOMS),$(eval $(call program_rule,$(r))))

# ---- unit tests: one cmocka program per module; the tree mirrors the source ----

unit_src := $(wildcard tests/unit/*/*.c tests/unit/*/*/*.c)
unit_bin := $(patsubst %.c,$(BUILD)/%,$(unit_src))

$(BUILD)/tests/unit/shared/%: $(BUILD)/obj/tests/unit/shared/%.o $(lib_shared)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) $^ -Wl,--as-needed -lcmocka $(libs_all) -o $@
$(BUILD)/tests/unit/shard/%: $(BUILD)/obj/tests/unit/shard/%.o $(lib_shard) $(lib_shared)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) $^ -Wl,--as-needed -lcmocka $(libs_all) -o $@
define unit_rule
$(BUILD)/tests/unit/dispatcher/$(1)/%: $(BUILD)/obj/tests/unit/dispatcher/$(1)/%.o $(lib_$(1)) $(lib_shared)
	@mkdir -p $$(@D)
	$$(call say,LD,$$@)
	$$(Q)$(CC) $(LDFLAGS) $$^ -Wl,--as-needed -lcmocka $(libs_all) -o $$@
endef
$(foreach r,$(ROOMS),$(eval $(call unit_rule,$(r))))
.SECONDARY:

# Stress programs: the ring with threads in place of processes; also with SANITIZE=thread. Exit 0 = passed.
stress_bin := $(patsubst %.c,$(BUILD)/%,$(wildcard tests/stress/*.c))
$(BUILD)/tests/stress/%: $(BUILD)/obj/tests/stress/%.o $(lib_shared)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) $^ -Wl,--as-needed $(libs_all) -o $@

# Preloaded into the programs by tests: calls that fail or stall, a wall clock that steps.
shim := $(BUILD)/tests/shim/shim.so
$(shim): tests/shim/shim.c
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -fPIC -shared $< -o $@ -ldl

# Chaos programs: a shard in a process that is killed at each instruction, or at each place with a name. The latter is
# made of the other build, in $(CRASH), whose shard the chaos of whole families uses, too.
CRASH := $(BUILD)/crash
chaos_bin := $(patsubst %.c,$(BUILD)/%,$(wildcard tests/chaos/*.c))
$(BUILD)/tests/chaos/%: $(BUILD)/obj/tests/chaos/%.o $(lib_shard) $(lib_shared)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) $^ -Wl,--as-needed -lcmocka $(libs_all) -o $@
ifeq ($(CRASHPOINTS),)
$(BUILD)/tests/chaos/point_kill: crashpoints
	@mkdir -p $(@D)
	@cmp -s $(CRASH)/tests/chaos/point_kill $@ || cp $(CRASH)/tests/chaos/point_kill $@

.PHONY: crashpoints
crashpoints: ## Build a shard that tests can tell to die at places with a name, into build/crash
	+@$(MAKE) --no-print-directory BUILD=$(CRASH) CRASHPOINTS=1 $(CRASH)/bin/shardcap-shard \
	    $(CRASH)/tests/chaos/point_kill
endif

# Benchmark programs; each prints one line of JSON, bench.py runs them and makes the table.
bench_bin := $(patsubst %.c,$(BUILD)/%,$(filter-out %/frames.c,$(wildcard tests/bench/*.c)))
$(BUILD)/tests/bench/%: $(BUILD)/obj/tests/bench/%.o $(BUILD)/obj/tests/bench/frames.o $(lib_shard) $(lib_capture) \
		$(lib_shared)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) $^ -Wl,--as-needed $(libs_all) -o $@

# Fuzz targets: here linked with a replay of their seeds; `make fuzz` gives them to libFuzzer.
FUZZ_TARGETS := $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZ_SECONDS ?= 60
fuzz_bin := $(addprefix $(BUILD)/tests/fuzz/,$(FUZZ_TARGETS))

$(BUILD)/tests/fuzz/%: $(BUILD)/obj/tests/fuzz/fuzz_%.o $(BUILD)/obj/tests/fuzz/replay.o $(lib_shard) $(lib_shared)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) $^ -Wl,--as-needed $(libs_all) -o $@

# Programs of a build whose layouts differ, for the tests of upgrades: a shard with another arena, a shard with another
# ring. Flags of the build itself (sanitizers) are the same.
other_builds := $(BUILD)/other-arena/bin/shardcap-shard $(BUILD)/other-ring/bin/shardcap-shard
$(BUILD)/other-arena/bin/shardcap-shard: $(BIN)/shardcap-shard
	$(Q)$(MAKE) --no-print-directory BUILD=$(BUILD)/other-arena OPT='$(OPT) -DARENA_LAYOUT=1001' $@
$(BUILD)/other-ring/bin/shardcap-shard: $(BIN)/shardcap-shard
	$(Q)$(MAKE) --no-print-directory BUILD=$(BUILD)/other-ring OPT='$(OPT) -DRING_LAYOUT=1001' $@

.PHONY: test-programs unit valgrind stress
ifeq ($(AS_CALLER),)
test-programs: $(unit_bin) $(stress_bin) $(chaos_bin) crashpoints $(fuzz_bin) $(BUILD)/tests/bench/bench_send $(shim) $(other_builds)
else
test-programs:
	+$(AS_CALLER) $(MAKE) --no-print-directory test-programs
endif

unit: $(unit_bin) ## Build and run the unit tests
	@for t in $(unit_bin); do $$t || exit 1; done
valgrind: deps-test $(unit_bin) ## Build and run the unit tests under valgrind
	@$(RUN_TESTS) --jobs 2 valgrind
stress: $(stress_bin) ## Build and run the stress programs
	@for t in $(stress_bin); do $$t || exit 1; done

# ---- what a person calls ----

.PHONY: help deps deps-demo deps-test deps-dev run demo test integration chaos bench format check-format check-layers check-inputs lint lint-tidy lint-cppcheck guards
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo "  make run ARGS=\"-interface eth0 -anonymize.ip=netblock\"   more arguments for the capture"
	@echo "  make SANITIZE=address,undefined                          another build beside the plain one (or =thread)"
	@echo "  make CC=clang BUILD=build/clang                          with another compiler"

deps: ## Install what building and running needs
	@tests/lib/packages.sh "make deps (to build and run)" $(PACKAGES)
deps-test: deps ## Install what the tests need
	@tests/lib/packages.sh "make deps-test (to test)" $(PACKAGES_TEST)
deps-dev: deps ## Install what formatting and linting need
	@tests/lib/packages.sh "make deps-dev (to format and lint)" $(PACKAGES_DEV)

# ARGS may have come over two lines; the second would be a command of its own.
define newline


endef

run: deps ## Build, then capture all interfaces that are up into ./data until Ctrl-C
	+@$(AS_CALLER) $(MAKE) --no-print-directory all
	@tests/lib/capture.sh $(BIN)/shardcap -datadir data -flowtimeout=3s $(subst $(newline), ,$(ARGS))

deps-demo: deps ## Install what the demo needs
	@tests/lib/packages.sh "make deps-demo (for the demo)" $(PACKAGES_DEMO)
demo: deps-demo ## Without root: 50 HTTP flows and a bulk transfer between two namespaces, and what is saved of them
	+@$(AS_CALLER) $(MAKE) --no-print-directory all
	@tests/lib/demo.sh $(BIN)

# REQUIRE=netns,tshark,nanocat makes the absence of one a failure where it would be a skip.
export REQUIRE
RUN_TESTS = python3 tests/lib/run_tests.py --build $(BUILD)
test: deps deps-test ## Install, build and run all tests
	+@$(MAKE) --no-print-directory all test-programs
	@$(RUN_TESTS) unit stress chaos fuzz integration

integration: all ## Run the integration tests alone: ONLY=test_read or ONLY=test_read.Read.test_vlan for some
	@$(RUN_TESTS) integration --only "$(ONLY)"

CHAOS_SECONDS ?= 600
chaos: all $(chaos_bin) $(stress_bin) crashpoints ## Kill everything, everywhere, for CHAOS_SECONDS=600 (CHAOS_SEED=n repeats a run)
	@STEP_STRIDE=1 POINT_KILLS=100 PROGRAM_LIMIT=7200 CHAOS_SECONDS=$(CHAOS_SECONDS) $(RUN_TESTS) -v chaos
	@$(BUILD)/tests/stress/ring_wakeup 10000000 7200
	@$(BUILD)/tests/stress/ring_hostile 400000000

guards: ## Plant one violation for each guard and see that it turns red
	@$(RUN_TESTS) guards

bench: all $(bench_bin) ## Measure, in less than ten minutes (BENCH_JSON=FILE for JSON)
	+@$(MAKE) --no-print-directory NO_ISAL=1 NO_LIBDEFLATE=1 BUILD=$(BUILD)/plain all
	@python3 tests/bench/bench.py --build $(BUILD)

# ---- installing ----

PREFIX ?= /usr/local
SYSCONFDIR ?= $(if $(filter /usr,$(PREFIX)),/etc,$(PREFIX)/etc)
to = $(DESTDIR)$(PREFIX)
# Units and manuals name programs where they are installed.
placed = sed -e 's|/usr/bin/shardcap|$(PREFIX)/bin/shardcap|g' -e 's|/usr/share/doc/|$(PREFIX)/share/doc/|g' -e 's|/etc/default/|$(SYSCONFDIR)/default/|g' $(1) > $(2) && chmod 644 $(2)

# The flags of the manual are those of -help.
$(BUILD)/shardcap.8: deploy/man/shardcap.8.in deploy/man/flags.awk $(BIN)/shardcap
	@$(BIN)/shardcap -help | awk -f deploy/man/flags.awk > $@.flags
	@sed -e '/@FLAGS@/{r $@.flags' -e 'd}' $< > $@

# So are the commands of the other one.
$(BUILD)/shardcapctl.1: deploy/man/shardcapctl.1.in deploy/man/commands.awk $(BIN)/shardcapctl
	@for c in $$($(BIN)/shardcapctl help | sed -n 's/^  \([a-z]\+\).*/\1/p' | grep -vx -e help -e version); do \
	    $(BIN)/shardcapctl $$c -help || exit 1; done | awk -f deploy/man/commands.awk > $@.commands
	@sed -e '/@COMMANDS@/{r $@.commands' -e 'd}' $< > $@

# What an operator takes into a place of the site's own.
EXAMPLES := deploy/systemd/shardcap-external.conf deploy/prometheus/rules.yml deploy/grafana/shardcap.json \
	$(wildcard deploy/kubernetes/*.yaml)

.PHONY: install deb
install: all $(BUILD)/shardcap.8 $(BUILD)/shardcapctl.1 ## Install into PREFIX=/usr/local below DESTDIR=
	install -d $(to)/bin $(to)/lib/systemd/system $(to)/lib/sysusers.d $(to)/lib/tmpfiles.d $(to)/share/man/man1 \
	    $(to)/share/man/man7 $(to)/share/man/man8 $(to)/share/bash-completion/completions $(DESTDIR)$(SYSCONFDIR)/default
	install -m 755 $(programs) $(to)/bin
	for f in deploy/systemd/*.service; do $(call placed,$$f,$(to)/lib/systemd/system/$${f##*/}) || exit 1; done
	install -m 644 deploy/systemd/sysusers.conf $(to)/lib/sysusers.d/shardcap.conf
	install -m 644 deploy/systemd/tmpfiles.conf $(to)/lib/tmpfiles.d/shardcap.conf
	for f in $(BUILD)/shardcap.8 $(BUILD)/shardcapctl.1 $(wildcard deploy/man/*.[1-8]); do \
	    $(call placed,$$f,$(to)/share/man/man$${f##*.}/$${f##*/}) || exit 1; done
	install -d $(to)/share/doc/shardcap/deploy $(to)/share/doc/shardcap/examples
	install -m 644 README.md $(to)/share/doc/shardcap
	install -m 644 deploy/README.md $(to)/share/doc/shardcap/deploy
	install -m 644 $(EXAMPLES) $(to)/share/doc/shardcap/examples
	for f in $(wildcard deploy/completion/*); do install -m 644 $$f $(to)/share/bash-completion/completions/; done
	[ -e $(DESTDIR)$(SYSCONFDIR)/default/shardcap ] || \
	    install -m 644 deploy/systemd/default $(DESTDIR)$(SYSCONFDIR)/default/shardcap

deb: ## Build the Debian package into build/deb
	@tests/lib/deb.sh $(VERSION) $(COMMIT) build/deb

# ---- guards ----

sources := $(wildcard shared/*.[ch] shard/*.[ch] dispatcher/*/*.[ch] tests/*/*.[ch] tests/unit/*/*.[ch] \
	tests/unit/*/*/*.[ch])

format: ## Format all sources
	clang-format -i $(sources)
check-format: ## Is every source formatted?
	@clang-format --dry-run -Werror $(sources)

check-layers: all ## Does every file include, and every program link, only what stands under it?
	@python3 tests/guards/check_layers.py --bin $(BIN)

check-inputs: ## Has each of the forty hostile inputs a test? (python3 tests/guards/check_inputs.py -v: which)
	@python3 tests/guards/check_inputs.py

# clang-tidy and cppcheck keep their settings in .clang-tidy and here; two files at a time.
CPPCHECK := cppcheck --quiet --std=c11 --language=c --enable=warning,performance,portability --inline-suppr \
	--error-exitcode=1 --suppress=missingIncludeSystem --suppress=unusedStructMember -j 2
lint: lint-tidy lint-cppcheck ## clang-tidy and cppcheck
lint_c = $(filter %.c,$(sources))
lint_flags := $(CPPFLAGS) -DSC_VERSION='"0"' -DSC_COMMIT='"0"' -DSC_CODECS='"0"' $(codec_flags)
lint-tidy:
	@printf '%s\n' $(lint_c) | xargs -P 2 -n 1 sh -c 'out=$$(clang-tidy --quiet --warnings-as-errors="*" "$$@" -- \
		-std=c17 $(subst ','\'',$(lint_flags)) 2>/dev/null) || { echo "$$out"; exit 1; }' lint
lint-cppcheck:
	@$(CPPCHECK) $(lint_flags) $(lint_c)

# ---- fuzzing: `make test` replays the seeds; `make fuzz` runs libFuzzer on them. ----

.PHONY: fuzz-replay fuzz
fuzz-replay: $(fuzz_bin)
	@for t in $(fuzz_bin); do $$t || exit 1; done

fuzz: $(fuzz_bin) ## Give each target to libFuzzer for FUZZ_SECONDS=60
	@mkdir -p build/fuzz
	$(MAKE) --no-print-directory CC=clang BUILD=build/fuzz/build SAN='-fsanitize=fuzzer-no-link,address,undefined \
	    -fno-sanitize-recover=undefined' OPT=-O1 build/fuzz/build/lib/libshard.a build/fuzz/build/lib/libshared.a
	@for t in $(FUZZ_TARGETS); do \
	    mkdir -p build/fuzz/corpus/$$t && $(BUILD)/tests/fuzz/$$t -seeds build/fuzz/corpus/$$t && \
	    clang $(CPPFLAGS) -std=c17 -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined \
	        tests/fuzz/fuzz_$$t.c build/fuzz/build/lib/libshard.a build/fuzz/build/lib/libshared.a $(libs_all) -pthread \
	        -o build/fuzz/$$t && \
	    echo "== fuzz $$t for $(FUZZ_SECONDS) s" && \
	    build/fuzz/$$t -max_total_time=$(FUZZ_SECONDS) -artifact_prefix=build/fuzz/crash-$$t- -print_final_stats=1 \
	        build/fuzz/corpus/$$t > build/fuzz/$$t.log 2>&1 || { tail -n 30 build/fuzz/$$t.log; exit 1; }; \
	    grep -E 'number_of_executed|new_units' build/fuzz/$$t.log; done

.PHONY: clean
clean: ## Remove everything that was built
	rm -rf build

-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)
