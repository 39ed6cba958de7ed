# SPDX-License-Identifier: Apache-2.0
# Builds, tests and runs shardcap. `make help` lists the targets.
#
# Variants live beside each other: SANITIZE=address,undefined builds into build/address,undefined.

SHELL := /bin/bash
.DEFAULT_GOAL := all

CC ?= gcc
SANITIZE ?=
BUILD := build$(if $(SANITIZE),/$(SANITIZE))
BIN := $(BUILD)/bin

VERSION := 0.1.0
COMMIT := $(shell git rev-parse --short=7 HEAD 2>/dev/null || echo unknown)

WARN := -Wall -Wextra -Wshadow -Wconversion -Werror
OPT ?= $(if $(SANITIZE),-O1 -fno-omit-frame-pointer,-O2)
SAN := $(if $(SANITIZE),-fsanitize=$(SANITIZE) $(if $(findstring undefined,$(SANITIZE)),-fno-sanitize-recover=undefined))
CPPFLAGS += -D_GNU_SOURCE -I.
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

libs_supervisor := -levent_core -ljansson -lcap
libs_capture := -lpcap -levent_core -lcap
libs_hub := -lnanomsg -levent -ljansson -lcap
libs_ctl := -lnanomsg -ljansson
libs_shard := -lnanomsg -levent_core -ljansson -lz -lcap
libs_all := -lnanomsg -levent -lpcap -ljansson -lz -lcap

objs = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))
ALL_ROOMS := shared shard $(ROOMS)
$(foreach r,$(ALL_ROOMS),$(eval lib_$(r) := $(BUILD)/lib/lib$(r).a))

.PHONY: all
all: $(foreach r,shard $(ROOMS),$(BIN)/$(program_$(r)))

$(BUILD)/obj/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c $< -o $@

# The commit is compiled into one object, which is rebuilt only when the commit changes.
$(BUILD)/obj/shared/version.o: CPPFLAGS += -DSC_VERSION='"$(VERSION)"' -DSC_COMMIT='"$(COMMIT)"'
$(BUILD)/obj/shared/version.o: $(BUILD)/commit
$(BUILD)/commit: FORCE
	@mkdir -p $(@D)
	@echo '$(VERSION) $(COMMIT)' | cmp -s - $@ || echo '$(VERSION) $(COMMIT)' > $@
.PHONY: FORCE
FORCE:

define archive_rule
$(lib_$(1)): $(filter-out %/main.o,$(call objs,$(src_$(1))))
	@mkdir -p $$(@D)
	@rm -f $$@
	ar rcs $$@ $$^
endef
$(foreach r,$(ALL_ROOMS),$(eval $(call archive_rule,$(r))))

define program_rule
$(BIN)/$(program_$(1)): $(filter %/main.o,$(call objs,$(src_$(1)))) $(lib_$(1)) $(lib_shared)
	@mkdir -p $$(@D)
	$(CC) $(LDFLAGS) $$^ -Wl,--as-needed $(libs_$(1)) -o $$@
endef
$(foreach r,shard $(ROOMS),$(eval $(call program_rule,$(r))))

# ---- unit tests: one cmocka program per module; the tree mirrors the source ----

unit_src := $(wildcard tests/unit/*/*.c tests/unit/*/*/*.c)
unit_bin := $(patsubst %.c,$(BUILD)/%,$(unit_src))

$(BUILD)/tests/unit/shared/%: $(BUILD)/obj/tests/unit/shared/%.o $(lib_shared)
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) $^ -Wl,--as-needed -lcmocka $(libs_all) -o $@
$(BUILD)/tests/unit/shard/%: $(BUILD)/obj/tests/unit/shard/%.o $(lib_shard) $(lib_shared)
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) $^ -Wl,--as-needed -lcmocka $(libs_all) -o $@
define unit_rule
$(BUILD)/tests/unit/dispatcher/$(1)/%: $(BUILD)/obj/tests/unit/dispatcher/$(1)/%.o $(lib_$(1)) $(lib_shared)
	@mkdir -p $$(@D)
	$(CC) $(LDFLAGS) $$^ -Wl,--as-needed -lcmocka $(libs_all) -o $$@
endef
$(foreach r,$(ROOMS),$(eval $(call unit_rule,$(r))))
.SECONDARY:

.PHONY: unit
unit: $(unit_bin)
	@for t in $(unit_bin); do $$t || exit 1; done

# ---- stress tests: the ring with threads in place of processes; also with SANITIZE=thread ----

stress_bin := $(patsubst %.c,$(BUILD)/%,$(wildcard tests/stress/*.c))

$(BUILD)/tests/stress/%: $(BUILD)/obj/tests/stress/%.o $(lib_shared)
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) $^ -Wl,--as-needed $(libs_all) -o $@

.PHONY: stress
stress: $(stress_bin)
	@for t in $(stress_bin); do $$t || exit 1; done

.PHONY: clean
clean:
	rm -rf build

-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)
