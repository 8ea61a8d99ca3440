# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# "make help" lists the targets. Sources are found by their place: a new .c file in
# control/, control/*/, loader/, tests/unit/test_*.c,
# tests/fuzz/fuzz_*.c or bpf/*.bpf.c needs no line here.

OUTPUT ?= build
PREFIX ?= /usr/local
DESTDIR ?=
V ?= 0

CC ?= cc
CLANG ?= clang
LLVM_STRIP ?= llvm-strip
BPFTOOL ?= $(shell PATH=$$PATH:/usr/sbin:/sbin command -v bpftool || echo bpftool)
PYTHON ?= /usr/bin/python3
FUZZ_SECONDS ?= 10
DEMO = $(PYTHON) tests/demo/demo.py --bin $(abspath $(OUTPUT))
CRASHES ?= 1000

ifeq ($(V),1)
Q =
say = @:
else
Q = @
say = @printf '  %-7s %s\n'
MAKEFLAGS += --no-print-directory
endif

.DELETE_ON_ERROR:
.SUFFIXES:
.SECONDARY:
.DEFAULT_GOAL := all

# ---- flags -----------------------------------------------------------------

PACKAGES = libbpf libelf zlib openssl libevent libevent_openssl libnl-3.0 libnl-route-3.0 \
	inih jansson libcap-ng hiredis
PKG_CFLAGS := $(shell pkg-config --cflags $(PACKAGES) 2>/dev/null)
PKG_LIBS := $(shell pkg-config --libs $(PACKAGES) 2>/dev/null)
MULTIARCH := $(shell $(CC) -print-multiarch 2>/dev/null)
MACHINE := $(shell uname -m)
BPF_ARCH = $(patsubst aarch64,arm64,$(patsubst x86_64,x86,$(MACHINE)))

CFLAGS ?= -O2 -g
WARNINGS = -Wall -Wextra -Werror
INCLUDES = -Iinclude -iquote . -iquote control -iquote $(OUTPUT)
HARDEN = -fstack-protector-strong -fPIE
ALL_CFLAGS = -std=c11 -D_GNU_SOURCE $(WARNINGS) $(INCLUDES) $(PKG_CFLAGS) -MMD -MP
SAN_FLAGS = -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined \
	-fno-sanitize-recover=all
FUZZ_FLAGS = -O1 -g -fno-omit-frame-pointer -fsanitize=fuzzer,address,undefined \
	-fno-sanitize-recover=all
# -mcpu=v3: with less, atomics that give a result crash the backend of LLVM 14.
# Some uapi headers draw in libc ones, which want to know the machine.
BPF_CFLAGS = -std=gnu11 -O2 -g -target bpf -mcpu=v3 -D__TARGET_ARCH_$(BPF_ARCH) -D__$(MACHINE)__ $(WARNINGS) \
	-Iinclude -iquote . -iquote bpf $(if $(MULTIARCH),-idirafter /usr/include/$(MULTIARCH)) \
	-MMD -MP

# ---- sources ---------------------------------------------------------------

BPF_SRC := $(wildcard bpf/*.bpf.c)
SKELETONS := $(BPF_SRC:bpf/%.bpf.c=$(OUTPUT)/bpf/%.skel.h)
# The loader embeds the data plane, so there is none without it.
LOADER_SRC := $(if $(and $(wildcard bpf/tc.bpf.c),$(wildcard bpf/xdp.bpf.c),$(wildcard bpf/guard.bpf.c),$(wildcard bpf/guard_free.bpf.c)),$(wildcard loader/*.c))
CONTROL_SRC := $(filter-out control/main.c,$(wildcard control/*.c control/peer/*.c control/path/*.c control/takeover/*.c))
LIB_SRC := $(wildcard control/lib/*.c)
FRONT_SRC := $(wildcard control/front/*.c)
CLI_SRC := $(filter-out control/cli/main.c,$(wildcard control/cli/*.c))

UNIT := $(patsubst %.c,$(OUTPUT)/%,$(wildcard tests/unit/test_*.c))
UNIT += $(patsubst %.c,$(OUTPUT)/%,$(wildcard tests/front/test_*.c))
UNIT_HELP := $(filter-out tests/unit/test_%,$(wildcard tests/unit/*.c))
FUZZ := $(patsubst %.c,$(OUTPUT)/%,$(wildcard tests/fuzz/fuzz_*.c))
ROWS_SRC := $(wildcard tests/bpf/*.c)
ROWS := $(if $(ROWS_SRC),$(OUTPUT)/tests/bpf/rows) $(OUTPUT)/tests/guard/rows
BENCH := $(patsubst %.c,$(OUTPUT)/%,$(wildcard tests/bench/*.c))
RIVALS := $(patsubst %.c,$(OUTPUT)/%,$(wildcard tests/bench/rival/*.c))
# those that can be run: tests/net/base.sh is not a test
NET := $(sort $(shell find tests/net -maxdepth 1 -name '*.sh' -perm -u+x))
NET_HELP := $(patsubst %.c,$(OUTPUT)/%,$(wildcard tests/net/*.c))

APPS := $(patsubst %.c,$(OUTPUT)/%,$(wildcard tests/apps/*.c))
EXAMPLES := $(patsubst docs/examples/%.c,$(OUTPUT)/examples/%,$(wildcard docs/examples/*.c))

LIBRARY := $(if $(LIB_SRC),$(OUTPUT)/libholdfast.so $(OUTPUT)/libholdfast.a)
PROGRAMS := $(if $(wildcard control/main.c),$(OUTPUT)/holdfastd) \
	$(if $(wildcard control/cli/main.c),$(OUTPUT)/holdfast) \
	$(if $(FRONT_SRC),$(OUTPUT)/holdfast-front)

objects = $(patsubst %.c,$(OUTPUT)/$(2)/%.o,$(1))

# PARTIAL=1: what does not compile is left out of the archives, so that one unfinished file
# does not keep its neighbours from being tested.
or_not = $(if $(PARTIAL),|| { rm -f $@; true; })

# ---- building --------------------------------------------------------------

.PHONY: all
all: probes $(SKELETONS) $(PROGRAMS) $(LIBRARY)

.PHONY: probes
probes: $(OUTPUT)/probes
# Printed once; again when the list of packages or this file changes.
$(OUTPUT)/probes: Makefile mk/probe.sh
	@mkdir -p $(@D)
	@CC="$(CC)" CLANG="$(CLANG)" BPFTOOL="$(BPFTOOL)" mk/probe.sh $(PACKAGES) >$@.new; \
		status=$$?; cat $@.new; [ $$status -eq 0 ] && mv $@.new $@

$(OUTPUT)/bpf/%.bpf.o: bpf/%.bpf.c Makefile | $(OUTPUT)/probes
	$(say) BPF $@
	@mkdir -p $(@D)
	$(Q)$(CLANG) $(BPF_CFLAGS) -MF $(@:.o=.d) -MT $@ -c $< -o $@
	$(Q)$(LLVM_STRIP) -g $@

$(OUTPUT)/bpf/%.skel.h: $(OUTPUT)/bpf/%.bpf.o
	$(say) SKEL $@
	$(Q)$(BPFTOOL) gen skeleton $< name $*_bpf >$@.new
	$(Q)mv $@.new $@

$(OUTPUT)/obj/%.o: %.c Makefile | $(OUTPUT)/probes
	$(say) CC $@
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) $(HARDEN) $(CFLAGS) -c $< -o $@ $(or_not)

$(OUTPUT)/san/%.o: %.c Makefile | $(OUTPUT)/probes
	$(say) CC-SAN $@
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) $(SAN_FLAGS) -c $< -o $@ $(or_not)

# ---- libholdfast: libc alone ------------------------------------------------

LIB_CFLAGS = -std=c11 -D_GNU_SOURCE $(WARNINGS) -Iinclude -iquote . -MMD -MP -fPIC \
	-fvisibility=hidden -fstack-protector-strong

$(OUTPUT)/lib/%.o: control/lib/%.c Makefile | $(OUTPUT)/probes
	$(say) CC $@
	@mkdir -p $(@D)
	$(Q)$(CC) $(LIB_CFLAGS) $(CFLAGS) -c $< -o $@ $(or_not)
$(OUTPUT)/san/control/lib/%.o: control/lib/%.c Makefile | $(OUTPUT)/probes
	$(say) CC-SAN $@
	@mkdir -p $(@D)
	$(Q)$(CC) $(LIB_CFLAGS) $(SAN_FLAGS) -c $< -o $@ $(or_not)

LIB_OBJECTS = $(LIB_SRC:control/%.c=$(OUTPUT)/%.o)
$(OUTPUT)/libholdfast.so.1: $(LIB_OBJECTS) control/lib/libholdfast.map
	$(say) LINK $@
	$(Q)$(CC) $(CFLAGS) -shared -Wl,-soname,libholdfast.so.1 -Wl,-z,defs,-z,relro,-z,now \
		-Wl,--version-script=control/lib/libholdfast.map $(LDFLAGS) -o $@ $(LIB_OBJECTS) $(or_not)
$(OUTPUT)/libholdfast.so: $(OUTPUT)/libholdfast.so.1
	$(Q)ln -sf libholdfast.so.1 $@

# One object, so that names of the library's own do not meet those of a program.
define one_object
$(say) AR $@
@mkdir -p $(@D)
@rm -f $@
$(Q){ $(LD) -r -o $(@:.a=.o) $^ && $(OBJCOPY) --localize-hidden $(@:.a=.o) && \
	$(AR) qcs $@ $(@:.a=.o); } $(if $(PARTIAL),|| $(AR) qcs $@)
endef
OBJCOPY ?= objcopy
$(OUTPUT)/libholdfast.a: $(LIB_OBJECTS)
	$(one_object)
$(OUTPUT)/san/libholdfast.a: $(call objects,$(LIB_SRC),san)
	$(one_object)

# Programs of others: strict, and the header must be good for C++ too.
# Servers that are taken over: what applications would do, with the library alone.
$(call objects,$(wildcard tests/apps/*.c),obj): include/holdfast.h
$(OUTPUT)/tests/apps/%: $(OUTPUT)/obj/tests/apps/%.o $(OUTPUT)/libholdfast.a
	$(say) LINK $@
	@mkdir -p $(@D)
	$(Q)$(LINK) -o $@ $^
$(OUTPUT)/examples/%: docs/examples/%.c include/holdfast.h $(OUTPUT)/libholdfast.so
	$(say) CC $@
	@mkdir -p $(@D)
	$(Q)$(CLANG) -x c++ -std=c++11 -Wall -Wextra -pedantic -Werror -fsyntax-only include/holdfast.h
	$(Q)$(CC) -std=c99 -pedantic $(WARNINGS) $(CFLAGS) -Iinclude -o $@ $< -L$(OUTPUT) -lholdfast \
		-Wl,-rpath,$(abspath $(OUTPUT))

# Generated headers must be there before the first compilation finds out who needs them.
$(call objects,$(LOADER_SRC),obj) $(call objects,$(LOADER_SRC),san): | $(SKELETONS)

# Appended, not replaced: two folders may have files of one name.
define archive
$(say) AR $@
@mkdir -p $(@D)
@rm -f $@
$(Q)$(AR) qcs $@ $(if $(PARTIAL),$$(ls $^ 2>/dev/null),$^)
endef
$(OUTPUT)/libloader.a: $(call objects,$(LOADER_SRC),obj)
	$(archive)
$(OUTPUT)/libcontrol.a: $(call objects,$(CONTROL_SRC),obj)
	$(archive)
$(OUTPUT)/libcli.a: $(call objects,$(CLI_SRC),obj)
	$(archive)
$(OUTPUT)/san/libloader.a: $(call objects,$(LOADER_SRC),san)
	$(archive)
$(OUTPUT)/san/libcontrol.a: $(call objects,$(CONTROL_SRC),san)
	$(archive)
$(OUTPUT)/san/libcli.a: $(call objects,$(CLI_SRC),san)
	$(archive)

ARCHIVES = $(OUTPUT)/libcli.a $(OUTPUT)/libcontrol.a $(OUTPUT)/libloader.a
SAN_ARCHIVES = $(OUTPUT)/san/libcli.a $(OUTPUT)/san/libcontrol.a $(OUTPUT)/san/libloader.a \
	$(OUTPUT)/san/libholdfast.a
LINK = $(CC) $(CFLAGS) -pie -Wl,-z,relro,-z,now $(LDFLAGS)

$(OUTPUT)/holdfastd: $(OUTPUT)/obj/control/main.o $(ARCHIVES)
	$(say) LINK $@
	$(Q)$(LINK) -o $@ $< $(ARCHIVES) $(PKG_LIBS)

$(OUTPUT)/holdfast: $(OUTPUT)/obj/control/cli/main.o $(ARCHIVES)
	$(say) LINK $@
	$(Q)$(LINK) -o $@ $< $(ARCHIVES) $(PKG_LIBS)

# To the daemon an application like any other: the library alone.
$(OUTPUT)/holdfast-front: $(call objects,$(FRONT_SRC),obj) $(OUTPUT)/libholdfast.a
	$(say) LINK $@
	$(Q)$(LINK) -o $@ $^ -lhttp_parser

# ---- tests -----------------------------------------------------------------

$(OUTPUT)/tests/unit/test_%: $(OUTPUT)/san/tests/unit/test_%.o \
		$(call objects,$(UNIT_HELP),san) $(SAN_ARCHIVES)
	$(say) LINK $@
	@mkdir -p $(@D)
	$(Q)$(CC) $(SAN_FLAGS) -o $@ $^ $(PKG_LIBS) -lcmocka

$(OUTPUT)/tests/front/test_%: $(OUTPUT)/san/tests/front/test_%.o $(OUTPUT)/san/control/front/%.o
	$(say) LINK $@
	@mkdir -p $(@D)
	$(Q)$(CC) $(SAN_FLAGS) -o $@ $^ -lhttp_parser -lcmocka

# What a script in tests/net needs beside the programs, sanitized too.
$(OUTPUT)/tests/net/%: $(OUTPUT)/san/tests/net/%.o $(SAN_ARCHIVES)
	$(say) LINK $@
	@mkdir -p $(@D)
	$(Q)$(CC) $(SAN_FLAGS) -o $@ $^ $(PKG_LIBS)

# A fuzzer includes the .c it tests; what that needs comes from the archives.
$(OUTPUT)/tests/fuzz/fuzz_%: tests/fuzz/fuzz_%.c $(ARCHIVES) Makefile
	$(say) FUZZ $@
	@mkdir -p $(@D)
	$(Q)$(CLANG) $(ALL_CFLAGS) -MF $@.d -MT $@ $(FUZZ_FLAGS) -o $@ $< $(ARCHIVES) $(PKG_LIBS)

$(OUTPUT)/tests/bpf/gen.h: tests/bpf/gen.py
	$(say) GEN $@
	@mkdir -p $(@D)
	$(Q)$(PYTHON) $< >$@.new
	$(Q)mv $@.new $@

$(OUTPUT)/tests/bpf/rows: $(call objects,$(ROWS_SRC),obj) $(OUTPUT)/libloader.a
	$(say) LINK $@
	@mkdir -p $(@D)
	$(Q)$(LINK) -o $@ $^ $(PKG_LIBS)
$(call objects,$(ROWS_SRC),obj): | $(SKELETONS) \
	$(if $(wildcard tests/bpf/gen.py),$(OUTPUT)/tests/bpf/gen.h)

# The rows of the guard, which has maps of its own.
$(OUTPUT)/tests/guard/gen.h: tests/guard/gen.py
	$(say) GEN $@
	@mkdir -p $(@D)
	$(Q)$(PYTHON) $< >$@.new
	$(Q)mv $@.new $@
$(OUTPUT)/tests/guard/rows: $(OUTPUT)/obj/tests/guard/rows.o
	$(say) LINK $@
	@mkdir -p $(@D)
	$(Q)$(LINK) -o $@ $^ $(PKG_LIBS)
$(OUTPUT)/obj/tests/guard/rows.o: | $(SKELETONS) $(OUTPUT)/tests/guard/gen.h

$(call objects,$(wildcard tests/bench/*.c),obj): | $(SKELETONS)
$(OUTPUT)/tests/bench/rival/%: $(OUTPUT)/obj/tests/bench/rival/%.o
	$(say) LINK $@
	@mkdir -p $(@D)
	$(Q)$(LINK) -o $@ $^ -lnetfilter_queue -lnfnetlink
$(OUTPUT)/tests/bench/%: $(OUTPUT)/obj/tests/bench/%.o $(ARCHIVES)
	$(say) LINK $@
	@mkdir -p $(@D)
	$(Q)$(LINK) -o $@ $^ $(PKG_LIBS)

.PHONY: tests
tests: $(UNIT) $(FUZZ) $(ROWS) $(NET_HELP) $(EXAMPLES) $(APPS)

RUN = HF_BUILD=$(abspath $(OUTPUT)) BIN=$(abspath $(OUTPUT)) tests/run.sh
RUN_UNIT = unit: $(UNIT) $(sort $(wildcard tests/demo/test_*.py))
RUN_MODEL = model: $(firstword $(wildcard tests/model/run tests/model/run.sh))
RUN_BPF = bpf: $(ROWS)
RUN_FUZZ = fuzz: $(foreach f,$(FUZZ),"mk/fuzz.sh $(f) $(FUZZ_SECONDS) $(OUTPUT)/fuzz")
RUN_NET = net: $(NET)

.PHONY: check check-all check-unit check-model check-bpf check-fuzz check-net check-vm
check: deps
	@$(MAKE) -j$$(nproc) all tests
	@$(MAKE) check-all
# Builds nothing: what is to be tested has been built.
check-all:
	@$(RUN) $(RUN_UNIT) $(RUN_MODEL) $(RUN_BPF) $(RUN_FUZZ) $(RUN_NET)
check-unit: $(UNIT) $(EXAMPLES)
	@$(RUN) $(RUN_UNIT)
check-model:
	@$(RUN) $(RUN_MODEL)
check-bpf: $(ROWS)
	@$(RUN) $(RUN_BPF)
check-fuzz: $(FUZZ)
	@$(RUN) $(RUN_FUZZ)
check-net: all $(NET_HELP) $(APPS)
	@$(RUN) $(RUN_NET)
check-vm: all tests
	@HF_BUILD=$(abspath $(OUTPUT)) vm/check.sh

# ---- running ---------------------------------------------------------------

.PHONY: deps demo demo-takeover soak-takeover bench
deps:
	@mk/deps.sh
demo: deps
	@$(MAKE) -j$$(nproc) all
	@$(DEMO)
demo-takeover: deps
	@$(MAKE) -j$$(nproc) all $(OUTPUT)/tests/apps/httpd
	@$(PYTHON) tests/demo/takeover.py --bin $(abspath $(OUTPUT))
# crashes, options: half of them with each store, unless SOAK says which
SOAK_TAKEOVER = $(PYTHON) tests/soak/takeover.py --bin $(abspath $(OUTPUT)) --crashes $(1) $(2) $(SOAK)
soak-takeover: deps
	@$(MAKE) -j$$(nproc) all $(OUTPUT)/tests/apps/httpd
	@$(if $(findstring --store,$(SOAK)),$(call SOAK_TAKEOVER,$(CRASHES),),$(strip \
		$(call SOAK_TAKEOVER,$$(($(CRASHES) / 2)),) && \
		$(call SOAK_TAKEOVER,$$(($(CRASHES) - $(CRASHES) / 2)),--store redis --replica)))
bench: deps
	@$(MAKE) -j$$(nproc) all bench-programs
	@HF_BUILD=$(abspath $(OUTPUT)) tests/bench/run
.PHONY: bench-programs
bench-programs: $(BENCH) $(RIVALS) $(APPS)

.PHONY: install
MAN := $(wildcard docs/man/*.scd)
install: all
	$(say) INSTALL $(DESTDIR)$(PREFIX)
	$(Q)install -D -m 755 $(OUTPUT)/holdfast $(DESTDIR)$(PREFIX)/bin/holdfast
	$(Q)install -D -m 755 $(OUTPUT)/holdfastd $(DESTDIR)$(PREFIX)/sbin/holdfastd
	$(Q)install -D -m 755 $(OUTPUT)/holdfast-front $(DESTDIR)$(PREFIX)/sbin/holdfast-front
	$(Q)install -D -m 755 $(OUTPUT)/libholdfast.so.1 $(DESTDIR)$(PREFIX)/lib/libholdfast.so.1
	$(Q)ln -sf libholdfast.so.1 $(DESTDIR)$(PREFIX)/lib/libholdfast.so
	$(Q)install -m 644 $(OUTPUT)/libholdfast.a $(DESTDIR)$(PREFIX)/lib/libholdfast.a
	$(Q)install -D -m 644 include/holdfast.h $(DESTDIR)$(PREFIX)/include/holdfast.h
	$(Q)install -d $(DESTDIR)$(PREFIX)/lib/pkgconfig
	$(Q)sed -e 's|@PREFIX@|$(PREFIX)|' \
		-e "s|@VERSION@|$$(sed -n 's/.*VERSION *"\(.*\)".*/\1/p' control/version.h)|" \
		control/lib/holdfast.pc.in >$(DESTDIR)$(PREFIX)/lib/pkgconfig/holdfast.pc
	$(Q)for f in $(wildcard systemd/*.service systemd/*.socket systemd/*.timer); do \
		install -d $(DESTDIR)$(PREFIX)/lib/systemd/system && \
		sed 's|@PREFIX@|$(PREFIX)|g' $$f \
			>$(DESTDIR)$(PREFIX)/lib/systemd/system/$${f##*/} || exit 1; \
	done
	$(Q)for f in $(MAN); do \
		page=$${f##*/}; page=$${page%.scd}; section=$${page##*.}; \
		install -d $(DESTDIR)$(PREFIX)/share/man/man$$section && \
		sed -e '/^@EXAMPLE@$$/{' -e 'r docs/examples/takeover-server.c' -e 'd}' $$f | \
			scdoc >$(DESTDIR)$(PREFIX)/share/man/man$$section/$$page || exit 1; \
	done
	$(Q)for call in $$(sed -n 's/^\t\(hf_.*\);/\1/p' control/lib/libholdfast.map); do \
		ln -sf libholdfast.3 $(DESTDIR)$(PREFIX)/share/man/man3/$$call.3 || exit 1; \
	done
	$(Q)install -D -m 644 completion/holdfast.bash \
		$(DESTDIR)$(PREFIX)/share/bash-completion/completions/holdfast
	$(Q)ln -sf holdfast $(DESTDIR)$(PREFIX)/share/bash-completion/completions/holdfastd
	$(Q)install -d $(DESTDIR)$(PREFIX)/share/doc/holdfast/examples $(DESTDIR)$(PREFIX)/share/holdfast/demo
	$(Q)install -m 644 docs/examples/*.conf docs/examples/*.c $(DESTDIR)$(PREFIX)/share/doc/holdfast/examples
	$(Q)install -m 644 tests/demo/*.py $(DESTDIR)$(PREFIX)/share/holdfast/demo
	$(Q)install -d -m 755 $(DESTDIR)/etc/holdfast
	$(Q)install -d $(DESTDIR)$(PREFIX)/share/doc/holdfast
	$(Q)install -m 644 LICENSE ARCHITECTURE.md $(wildcard README.md docs/*.md) \
		$(DESTDIR)$(PREFIX)/share/doc/holdfast
	$(Q)install -d $(DESTDIR)$(PREFIX)/share/doc/holdfast/experiments
	$(Q)install -m 644 docs/experiments/*.md $(DESTDIR)$(PREFIX)/share/doc/holdfast/experiments

# ---- care ------------------------------------------------------------------

.PHONY: clean format lint help
clean:
	$(say) CLEAN $(OUTPUT)
	$(Q)rm -rf $(OUTPUT)

SOURCES = $(shell git ls-files -co --exclude-standard '*.c' '*.h')
SCRIPTS = $(shell git ls-files -co --exclude-standard | xargs grep -lE '^\#!/bin/(ba)?sh')
format:
	$(Q)clang-format -i $(SOURCES)
lint:
	$(Q)mk/lint.sh

help:
	@echo 'make [OUTPUT=build] [V=1] [PREFIX=/usr/local] [DESTDIR=] TARGET'
	@echo
	@echo '  all          the data plane, holdfast, holdfastd and libholdfast (default)'
	@echo '  deps         install the Debian packages that are missing (root)'
	@echo '  check        deps, all, then every test; last line: N passed, N failed, N skipped'
	@echo '  check-unit   cmocka, with address and undefined-behaviour sanitizers'
	@echo '  check-model  the switch machine under SPIN'
	@echo '  check-bpf    rows of packets through the programs (root)'
	@echo '  check-fuzz   every fuzzer for FUZZ_SECONDS=10'
	@echo '  check-net    network namespaces (root)'
	@echo '  check-vm     the same on other kernels'
	@echo '  demo         deps, all, then a connection that survives (root)'
	@echo '  demo-takeover  deps, all, then servers that die and connections that do not (root)'
	@echo '  soak-takeover  CRASHES=1000 of servers under load, half with each store, each byte verified; SOAK="--store redis ..." (root)'
	@echo '  bench        deps, all, then measurements (root)'
	@echo '  install      programs, library, units, man pages'
	@echo '  clean, format, lint'
	@echo
	@echo 'OUTPUT=DIR builds elsewhere: two people may build one tree at a time. PARTIAL=1 leaves out'
	@echo 'of the libraries what does not compile.'

-include $(shell find $(OUTPUT) -name '*.d' 2>/dev/null)
