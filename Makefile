# fermata - `make help` lists what you can build.
#
# src/lib is pure (bytes in, bytes out); src/daemon runs on the event loop; platform is the rest of
# the world.  Who may include (and link) whom: tests/lint/layers.txt.  V=1 shows the commands.

VERSION    := 0.1.0
PKG_CONFIG ?= pkg-config
PACKAGES   := libuv libnghttp2 liblz4 libzstd zlib libprotobuf-c inih
SAN        ?=
BUILD      ?= build$(if $(SAN),/san-$(subst $(comma),-,$(SAN)))
prefix     ?= /usr
PYTHON     ?= /usr/bin/python3
comma      := ,
Q          := $(if $(V),,@)

# CFLAGS, CPPFLAGS, LDFLAGS and LDLIBS belong to whoever builds; what fermata needs stands here.
CFLAGS   ?= $(if $(SAN),-O1,-O2) -g
include  := -Iinclude -Iplatform -D_GNU_SOURCE -DFERMATA_VERSION='"$(VERSION)"' -MMD -MP
warn     := -Wall -Wextra -Wshadow -Wundef -Wwrite-strings -Wvla -Wformat=2 -Wstrict-prototypes \
            -Wmissing-prototypes
harden   := -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3 -fstack-protector-strong -fstack-clash-protection \
            $(shell $(CC) -ftrivial-auto-var-init=zero -xc -c -o /dev/null /dev/null 2>/dev/null && \
                echo -ftrivial-auto-var-init=zero) $(if $(filter x86_64,$(shell uname -m)),-fcf-protection)
sanitize := -fsanitize=$(SAN) -fno-sanitize-recover=undefined -fno-omit-frame-pointer -DFM_ARENA_DEBUG
compile   = $(CC) -std=gnu17 $(include) $(warn) -fno-delete-null-pointer-checks -fPIE -pthread \
            $(if $(SAN),$(sanitize),$(harden)) $(library_flags) $(CPPFLAGS) $(CFLAGS)
link_flags := -pie -pthread -Wl,-z,relro,-z,now,-z,noexecstack $(if $(SAN),-fsanitize=$(SAN)) $(LDFLAGS)
library_flags := $(shell $(PKG_CONFIG) --cflags $(PACKAGES) 2>/dev/null)
libraries := $(shell $(PKG_CONFIG) --libs $(PACKAGES) 2>/dev/null) \
             $(shell $(PKG_CONFIG) --libs mbedtls mbedx509 mbedcrypto 2>/dev/null || \
               echo -lmbedtls -lmbedx509 -lmbedcrypto) -lcrypt -lm $(LDLIBS)

# Modules, their folders and what they may use, from the table of layers.
layers   := $(shell sed -n 's/ *: */:/g; /^[a-z]/p' tests/lint/layers.txt | sed 's/ /,/g')
folders  := $(foreach l,$(layers),$(word 1,$(subst :, ,$(l))))
modules  := $(notdir $(folders))
$(foreach l,$(layers),$(eval needs_$(notdir $(word 1,$(subst :, ,$(l)))) := \
    $(subst $(comma), ,$(word 3,$(subst :, ,$(l))))))
$(foreach f,$(folders),$(eval folder_$(notdir $(f)) := $(f)))
closure   = $(if $(closed_$(1)),,$(eval closed_$(1) := $$(sort $(1) $$(foreach n,$(needs_$(1)),$$(call closure,$$(n))))))$(closed_$(1))
sources   = $(wildcard $(folder_$(1))/*.c)
generated = $(patsubst $(folder_$(1))/%.proto,$(BUILD)/gen/$(1)/%.pb-c.c,\
              $(wildcard $(folder_$(1))/*.proto))
objects   = $(patsubst %.c,$(BUILD)/obj/%.o,$(call sources,$(1))) \
            $(patsubst $(BUILD)/%.c,$(BUILD)/obj/%.o,$(call generated,$(1)))
archives  = $(foreach m,$(call closure,$(1)),$(if $(call sources,$(m)),$(BUILD)/lib/$(m).a))
link      = $(CC) $(link_flags) -o $@ $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) \
            -Wl,--end-group $(libraries)

program_modules := $(filter-out sim,$(modules))
support   := $(patsubst %.c,$(BUILD)/obj/%.o,$(wildcard tests/support/*.c))
unit_src  := $(foreach m,$(or $(MODULES),*),$(wildcard tests/unit/$(m)/test_*.c))
unit_bin  := $(patsubst tests/%.c,$(BUILD)/tests/%,$(unit_src))
sim_bin   := $(patsubst tests/%.c,$(BUILD)/tests/%,$(wildcard tests/sim/sim_*.c))
bench_bin := $(patsubst tests/%.c,$(BUILD)/tests/%,$(wildcard tests/bench/bench_*.c))
fuzzers   := $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
replay_bin := $(fuzzers:%=$(BUILD)/tests/replay_%)

all: $(BUILD)/fermata                     ## build the program, build/fermata

$(BUILD)/fermata: $(patsubst %.c,$(BUILD)/obj/%.o,$(wildcard src/*.c)) $(call archives,tools) $(call archives,api) \
                  $(call archives,ingest) $(call archives,replicate) $(call archives,export) $(call archives,sampler) $(call archives,recall) $(call archives,manifest) $(call archives,uv) \
                  $(call archives,linux) $(call archives,config)
	@echo "  LD   $@"
	$(Q)$(CC) $(link_flags) -o $@ $(filter %.o,$^) -Wl,--whole-archive $(filter %.a,$^) \
	    -Wl,--no-whole-archive $(libraries) # all of them: a name that two modules have is an error

define module_rules
$(BUILD)/lib/$(1).a: $(call objects,$(1))
	@echo "  AR   $$@"
	@mkdir -p $$(@D)
	$(Q)rm -f $$@ && $(AR) rcs $$@ $$^
$(BUILD)/gen/$(1)/%.pb-c.c: $(folder_$(1))/%.proto
	@echo "  PBC  $$<"
	@mkdir -p $$(@D)
	$(Q)protoc --proto_path=$$(<D) --c_out=$$(@D) $$<
$(call objects,$(1)): | $(call generated,$(1))
$(call objects,$(1)): include += -I$(BUILD)/gen/$(1)
test-$(1): $(filter $(BUILD)/tests/unit/$(1)/%,$(unit_bin))
	$(Q)set -e; for t in $$^; do echo "  TEST $$$$t"; $$$$t; done
.PHONY: test-$(1)
$(filter $(BUILD)/tests/unit/$(1)/%,$(unit_bin)): $(BUILD)/tests/%: $(BUILD)/obj/tests/%.o \
    $(support) $(call archives,$(1)) $(call extra_$(1))
	@echo "  LD   $$@"
	@mkdir -p $$(@D)
	$(Q)$(CC) $(link_flags) -o $$@ $$(filter %.o,$$^) -Wl,--start-group $$(filter %.a,$$^) \
	    -Wl,--end-group $(libraries) -lcmocka $$(libs_$$(notdir $$@)) \
	    -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc
endef
# Modules that are tested on a body of the platform, and oracles that only tests may link.
on_a_body := platform telemetry net credentials bucket tenants store replicate export sampler recall manifest query ingest api tools config
$(foreach m,$(on_a_body),$(eval extra_$(m) = $(call archives,uv) $(call archives,sim)))
libs_test_snappy := -lsnappy
$(foreach m,$(modules),$(eval $(call module_rules,$(m))))

everything := $(foreach m,$(modules),$(if $(call sources,$(m)),$(BUILD)/lib/$(m).a))
$(sim_bin) $(bench_bin): $(BUILD)/tests/%: $(BUILD)/obj/tests/%.o $(support) $(everything)
	@echo "  LD   $@"
	@mkdir -p $(@D)
	$(Q)$(link) -lcmocka -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc

property_bin := $(BUILD)/tests/property/property
$(property_bin): $(patsubst %.c,$(BUILD)/obj/%.o,$(wildcard tests/property/*.c)) \
                 $(sort $(call archives,ask))
	@echo "  LD   $@"
	@mkdir -p $(@D)
	$(Q)$(link)

$(BUILD)/tests/interop/parquet_sample: $(BUILD)/obj/tests/interop/parquet_sample.o $(everything)
	@echo "  LD   $@"
	@mkdir -p $(@D)
	$(Q)$(link)

$(replay_bin): $(BUILD)/tests/replay_%: $(BUILD)/obj/tests/fuzz/fuzz_%.o \
               $(BUILD)/obj/tests/fuzz/replay.o $(everything)
	@echo "  LD   $@"
	@mkdir -p $(@D)
	$(Q)$(link)

$(BUILD)/obj/%.o: %.c
	@echo "  CC   $<"
	@mkdir -p $(@D)
	$(Q)$(compile) -c -o $@ $<

$(BUILD)/obj/gen/%.o: $(BUILD)/gen/%.c
	@echo "  CC   $<"
	@mkdir -p $(@D)
	$(Q)$(compile) -c -o $@ $<

unit: $(unit_bin)                         ## unit tests of every module (one module: test-NAME)
	$(Q)tests/support/run-all.sh $(unit_bin)

replay: $(replay_bin)                     ## every kept corpus through its fuzzer's body
	$(Q)inputs=0; for f in $(fuzzers); do \
	    line=$$($(BUILD)/tests/replay_$$f tests/corpus/$$f) || { echo "$$line"; exit 1; }; \
	    set -- $$line; inputs=$$((inputs + $$2)); \
	done; echo "replay: $(words $(fuzzers)) passed, 0 failed ($$inputs inputs)"

lint:                                     ## layering, size and format rules
	$(Q)tests/lint/layers.sh
	$(Q)tests/lint/sizes.sh
	$(Q)tests/lint/operations.sh

format:                                   ## clang-format over the tree
	clang-format -i $(shell git ls-files '*.c' '*.h')

sim: $(sim_bin)                           ## simulation; SEED=N runs one seed, SEEDS=N that many
	$(Q){ for s in $(sim_bin); do echo $$s $(if $(SEED),--first $(SEED) --seeds 1,\
	    --seeds $(or $(SEEDS),1000)); done; $(if $(SEED),,echo $(BUILD)/tests/sim/sim_store --sweep; \
	    echo $(BUILD)/tests/sim/sim_forward --first 1000001 --seeds $(or $(SEEDS),1000);) } | \
	    xargs -P "$$(nproc)" -L 1 nice
	@echo "sim: $(words $(sim_bin)) passed, 0 failed"

property: $(property_bin)                 ## random queries against an oracle; SEED=N, PAIRS=N
	$(Q)$(property_bin) --first $(or $(SEED),1) --pairs $(or $(PAIRS),100000)

system: $(BUILD)/fermata                  ## black-box tests against the real daemon
	$(Q)FERMATA=$(abspath $(BUILD)/fermata) $(PYTHON) tests/system/run.py $(TESTS)

packages:                                 ## install what building and testing need (Debian)
	@platform/debian/ensure-packages.sh

# Builds what is named, quietly, on every processor unless make was told how many.
quietly = mkdir -p $(BUILD) && echo "  building; the log is $(BUILD)/build.log" && \
          { $(MAKE) --no-print-directory $(if $(findstring jobserver,$(MAKEFLAGS)),,-j$(shell nproc)) \
              $(1) >$(BUILD)/build.log 2>&1 || { cat $(BUILD)/build.log; exit 1; }; }

programs: $(BUILD)/fermata $(unit_bin) $(replay_bin) $(sim_bin) $(property_bin) ## build what the tests run

test: packages                            ## everything: lint, unit, corpora, simulation, system
	$(Q)$(call quietly,programs)
	$(Q)set -e; for step in lint unit replay property sim system; do \
	    $(MAKE) --no-print-directory $$step; done; echo "test: everything passed"

demo:                                     ## the whole path on real input, shown
	@platform/debian/ensure-packages.sh build demo
	$(Q)$(call quietly,all)
	$(Q)tests/demo/demo.sh $(BUILD)

interop:                                  ## foreign clients, readers and servers (npm, PyPI, Go)
	@platform/debian/ensure-packages.sh build interop
	$(Q)$(call quietly,all $(BUILD)/tests/interop/parquet_sample)
	$(Q)tests/interop/run.sh $(BUILD) $(TESTS)

conformance: $(BUILD)/fermata             ## write docs/conformance.md from what the daemon does
	$(Q)CONFORMANCE_WRITE=1 FERMATA=$(BUILD)/fermata $(PYTHON) tests/system/run.py test_conformance

faults: $(BUILD)/fermata                  ## write docs/faults.md from what the daemon does
	$(Q)FAULTS_WRITE=1 FERMATA=$(BUILD)/fermata $(PYTHON) tests/system/run.py test_faults

bench: $(BUILD)/fermata $(bench_bin)      ## the figures of the README, measured here
	$(Q)tests/bench/run.sh $(BUILD)

install: $(BUILD)/fermata                 ## DESTDIR and prefix are honoured
	install -D -m 755 $(BUILD)/fermata $(DESTDIR)$(prefix)/bin/fermata
	sed 's|/usr/bin/|$(prefix)/bin/|' systemd/fermata.service | \
	    install -D -m 644 /dev/stdin $(DESTDIR)$(prefix)/lib/systemd/system/fermata.service
	install -D -m 644 systemd/fermata.sysusers $(DESTDIR)$(prefix)/lib/sysusers.d/fermata.conf
	install -D -m 644 systemd/fermata.tmpfiles $(DESTDIR)$(prefix)/lib/tmpfiles.d/fermata.conf
	install -D -m 644 systemd/local-only.conf $(DESTDIR)$(prefix)/share/doc/fermata/local-only.conf
	sed -E -f docs/man/roff.sed docs/man/fermata.8.md | \
	    install -D -m 644 /dev/stdin $(DESTDIR)$(prefix)/share/man/man8/fermata.8
	test -e $(DESTDIR)/etc/fermata/fermata.ini || \
	    install -D -m 644 config/fermata.ini $(DESTDIR)/etc/fermata/fermata.ini

fuzz-%:                                   ## fuzz one decoder for FUZZ_SECONDS (60)
	$(Q)$(MAKE) --no-print-directory CC=clang BUILD=build/fuzz SAN=fuzzer-no-link,address,undefined \
	    build/fuzz/obj/tests/fuzz/fuzz_$*.o $(everything:$(BUILD)/%=build/fuzz/%)
	$(Q)clang -fsanitize=fuzzer,address,undefined -pthread -o build/fuzz/fuzz_$* \
	    build/fuzz/obj/tests/fuzz/fuzz_$*.o -Wl,--start-group $(everything:$(BUILD)/%=build/fuzz/%) \
	    -Wl,--end-group $(libraries)
	@mkdir -p tests/corpus/$*
	build/fuzz/fuzz_$* -max_total_time=$(or $(FUZZ_SECONDS),60) -timeout=10 -rss_limit_mb=1024 \
	    tests/corpus/$*

clean:                                    ## remove build products
	rm -rf build

help:                                     ## show this list
	@sed -n 's/^\([a-z%-]*\):.*## /  \1\t/p' Makefile | expand -t 16

.PHONY: all unit replay lint format sim property system packages programs test demo interop conformance faults bench install \
        clean help
.SECONDARY:
-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)
