# libhmkv: `make help` lists the targets.

PREFIX ?= /usr/local
LIBDIR ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
DOCDIR ?= $(PREFIX)/share/doc/hmkv
DESTDIR ?=
BENCH_ARGS ?=
FAULT_SECS ?= 120
FAULT_ARGS ?=
SANITIZE_ARGS ?=
FUZZ_SECS ?= 60
FUZZ_TARGETS ?=
CFLAGS ?= -O2 -g

TARGET = $(or $(CARGO_TARGET_DIR),target)
SHARED = $(TARGET)/release/libhmkv.so
STATIC = $(TARGET)/release/libhmkv.a
HEADER = include/hmkv.h
BINDINGS = $(wildcard include/hmkv/*.h)
JOBS = $(shell nproc)

# Asked of the header, which the build writes from Cargo.toml and build.rs.
VERSION = $(shell sed -n 's/^#define HMKV_VERSION "\(.*\)"/\1/p' $(HEADER))
ABI = $(shell sed -n 's/^#define HMKV_ABI //p' $(HEADER))

# What a program that links libhmkv.a needs besides, as told by
# cargo rustc --release --crate-type staticlib -- --print native-static-libs
LIBS_PRIVATE = -lgcc_s -lutil -lrt -lpthread -lm -ldl -lc

.PHONY: all release deps header header-check symbols-check fmt fmt-check lint check \
	test cargo-test loom ctest-build ctest fault test-fresh valgrind sanitize fuzz bench examples demo install \
	uninstall dist clean help

all: release

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1 \2/p' Makefile | \
		while read -r name text; do printf '  %-14s %s\n' "$$name" "$$text"; done

# --- Building ----------------------------------------------------------------

# Programs look for the SONAME, so it has to stand beside the library.
release: ## build the library (the default target)
	cargo build --release --locked
	ln -sf libhmkv.so $(TARGET)/release/libhmkv.so.$(ABI)

deps: ## install what building and testing need and is missing
	sh scripts/deps.sh

header: release ## write include/hmkv.h from the sources

# The examples need no more than a C compiler and the library.
EXAMPLES = $(patsubst examples_c/%.c,$(TARGET)/examples/%,$(wildcard examples_c/*.c)) \
	$(patsubst examples_c/%.cpp,$(TARGET)/examples/%,$(wildcard examples_c/*.cpp))
LINK_SHARED = -L$(TARGET)/release -lhmkv -Wl,-rpath,$(abspath $(TARGET)/release)

$(TARGET)/examples/%: examples_c/%.c release
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -pthread -Iinclude -o $@ $< $(LINK_SHARED)

$(TARGET)/examples/%: examples_c/%.cpp release
	@mkdir -p $(@D)
	$(CXX) $(CFLAGS) -std=c++17 -pthread -Iinclude -o $@ $< $(LINK_SHARED)

examples: $(EXAMPLES) ## build the programs of examples_c/

demo: deps ## build, and run two examples on mem:
	$(MAKE) $(TARGET)/examples/quickstart $(TARGET)/examples/heartbeat
	@printf '\n--- quickstart mem:\n'
	@$(TARGET)/examples/quickstart mem:
	@printf '\n--- heartbeat mem:\n'
	@$(TARGET)/examples/heartbeat mem:

# --- Checking ----------------------------------------------------------------

fmt: ## format the Rust sources
	cargo fmt
	cargo fmt --manifest-path fuzz/Cargo.toml

fmt-check: ## fail when the Rust sources are not formatted
	cargo fmt --check
	cargo fmt --check --manifest-path fuzz/Cargo.toml

lint: ## clippy with warnings as errors; every export guarded; the README's program
	cargo clippy --all-targets --locked -- -D warnings
	sh scripts/check-guards.sh src/ffi
	sed -n '/^```c$$/,/^```$$/{//!p}' README.md | diff -u examples_c/quickstart.c -

header-check: release ## fail when the committed header is stale
	@if [ -e .git ]; then \
		git diff --exit-code -- $(HEADER) || \
		{ echo "header-check: $(HEADER) was stale, the build renewed it: commit it" >&2; exit 1; }; \
	else echo "header-check: no git checkout here, nothing to compare with"; fi

symbols-check: release ## exports, prototypes and the list of symbols are the same
	sh c_tests/abi/check.sh $(SHARED) $(HEADER) c_tests/abi/hmkv.symbols

check: fmt-check lint header-check symbols-check ## all of these four

# --- Testing -----------------------------------------------------------------

CONFIGURE = cmake -S c_tests -DHMKV_LIBRARY=$(abspath $(SHARED)) \
	-DHMKV_STATIC_LIBRARY=$(abspath $(STATIC)) -DHMKV_INCLUDE_DIR=$(abspath include)
CTEST = ctest --output-on-failure --no-tests=error -j $(JOBS)

# The other crates know cfg(loom), and leave out half of themselves under it.
loom: ## the models of what threads share, in every order that they can take
	RUSTFLAGS="--cfg model" CARGO_TARGET_DIR=$(abspath $(TARGET))/loom LOOM_MAX_PREEMPTIONS=3 \
		cargo test --locked --lib model_

cargo-test: ## the Rust tests
	cargo test --locked

ctest-build: release
	$(CONFIGURE) -B $(TARGET)/ctest
	cmake --build $(TARGET)/ctest -j $(JOBS)

ctest: ctest-build ## the C tests on mem: and on etcd
	$(CTEST) --test-dir $(TARGET)/ctest

# The short forms are among the C tests. FAULT_ARGS may have a seed.
fault: ctest-build ## every case of the fault bench for FAULT_SECS seconds (120)
	set -e; for case in $$($(TARGET)/ctest/fault/fault --list | sed 's/^fault\.\([a-z-]*\) .*/\1/'); do \
		HMKV_FAULT=$(TARGET)/ctest/fault/fault c_tests/fault/run $$case --secs $(FAULT_SECS) $(FAULT_ARGS); \
	done
	sh c_tests/fault/counts.sh $(TARGET)/ctest

# One after the other: the runners' closing lines stay at the end.
test: deps ## install what is missing, check, then all tests
	$(MAKE) check
	$(MAKE) cargo-test
	$(MAKE) loom
	$(MAKE) ctest

valgrind: deps ## the C tests that run under valgrind
	$(MAKE) release
	$(CONFIGURE) -B $(TARGET)/ctest-valgrind -DHMKV_VALGRIND=ON
	cmake --build $(TARGET)/ctest-valgrind -j $(JOBS)
	$(CTEST) --test-dir $(TARGET)/ctest-valgrind -L valgrind

# Apart from the release, with checked sums and line numbers, on a stable compiler.
# With --target, what the build itself runs stays as it is.
HOST = $(shell rustc -vV | sed -n 's/^host: //p')
SANITIZED = $(TARGET)/sanitize/$(HOST)/release
SANITIZE_BUILD = RUSTC_BOOTSTRAP=1 \
	RUSTFLAGS='-Zsanitizer=address -Cunsafe-allow-abi-mismatch=sanitizer' \
	CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
	CARGO_PROFILE_RELEASE_DEBUG=line-tables-only CARGO_PROFILE_RELEASE_STRIP=none \
	CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS=true CARGO_PROFILE_RELEASE_OVERFLOW_CHECKS=true \
	cargo build --release --locked --target $(HOST) --target-dir $(TARGET)/sanitize

sanitize: deps ## the C tests, library included, with sanitizers (SANITIZE_ARGS for ctest)
	$(SANITIZE_BUILD)
	$(CONFIGURE) -B $(TARGET)/ctest-sanitize -DHMKV_SANITIZE=ON \
		-DHMKV_LIBRARY=$(abspath $(SANITIZED)/libhmkv.so) \
		-DHMKV_STATIC_LIBRARY=$(abspath $(SANITIZED)/libhmkv.a)
	cmake --build $(TARGET)/ctest-sanitize -j $(JOBS)
	$(CTEST) --test-dir $(TARGET)/ctest-sanitize -L sanitize $(SANITIZE_ARGS)

fuzz: deps ## run each fuzz target for FUZZ_SECS seconds, or FUZZ_TARGETS alone
	sh fuzz/run.sh $(abspath $(TARGET))/fuzz $(FUZZ_SECS) $(FUZZ_TARGETS)

bench: deps ## compare the speed with other clients, on a real etcd (BENCH_ARGS)
	$(MAKE) release
	$(MAKE) -C bench OUT=$(abspath $(TARGET))/bench LIB=$(abspath $(TARGET))/release
	python3 -B bench/run.py --bin $(TARGET)/bench $(BENCH_ARGS)

test-fresh: ## demo and test of HEAD in a minimal Debian (root, debootstrap)
	sh scripts/test-fresh.sh

# --- Installing --------------------------------------------------------------

D_LIB = $(DESTDIR)$(LIBDIR)
D_INCLUDE = $(DESTDIR)$(INCLUDEDIR)
D_DOC = $(DESTDIR)$(DOCDIR)
D_PKGCONFIG = $(D_LIB)/pkgconfig
D_CMAKE = $(D_LIB)/cmake/hmkv

FILL = sed -e 's|@PREFIX@|$(PREFIX)|g' -e 's|@LIBDIR@|$(LIBDIR)|g' \
	-e 's|@INCLUDEDIR@|$(INCLUDEDIR)|g' -e 's|@VERSION@|$(VERSION)|g' \
	-e 's|@ABI@|$(ABI)|g' -e 's|@LIBS_PRIVATE@|$(LIBS_PRIVATE)|g' \
	-e "s|@INCLUDE_FROM_CMAKE@|$$(realpath -ms --relative-to=$(LIBDIR)/cmake/hmkv $(INCLUDEDIR))|g"

# As the README links to them.
DOCS = README.md LICENSE CHANGELOG.md
PAGES = $(wildcard docs/*.md docs/*.svg)

# It does not build: `make && sudo make install` leaves no file of root's here.
install: ## install into PREFIX, below DESTDIR; run `make` before
	@test -f $(SHARED) && test -f $(STATIC) || { echo "run make first" >&2; exit 1; }
	install -d $(D_LIB) $(D_INCLUDE)/hmkv $(D_DOC)/docs $(D_PKGCONFIG) $(D_CMAKE)
	install -m 644 $(HEADER) $(D_INCLUDE)/hmkv.h
	install -m 644 $(BINDINGS) $(D_INCLUDE)/hmkv
	install -m 755 $(SHARED) $(D_LIB)/libhmkv.so.$(VERSION)
	ln -sf libhmkv.so.$(VERSION) $(D_LIB)/libhmkv.so.$(ABI)
	ln -sf libhmkv.so.$(ABI) $(D_LIB)/libhmkv.so
	install -m 644 $(STATIC) $(D_LIB)/libhmkv.a
	$(FILL) packaging/hmkv.pc.in >$(D_PKGCONFIG)/hmkv.pc
	$(FILL) packaging/hmkv-config.cmake.in >$(D_CMAKE)/hmkv-config.cmake
	$(FILL) packaging/hmkv-config-version.cmake.in >$(D_CMAKE)/hmkv-config-version.cmake
	install -m 644 $(DOCS) $(D_DOC)
	install -m 644 $(PAGES) $(D_DOC)/docs

uninstall: ## remove what install put there
	rm -f $(D_INCLUDE)/hmkv.h $(addprefix $(D_INCLUDE)/,$(BINDINGS:include/%=%)) $(D_LIB)/libhmkv.so $(D_LIB)/libhmkv.so.$(ABI) \
		$(D_LIB)/libhmkv.so.$(VERSION) $(D_LIB)/libhmkv.a $(D_PKGCONFIG)/hmkv.pc \
		$(D_CMAKE)/hmkv-config.cmake $(D_CMAKE)/hmkv-config-version.cmake \
		$(addprefix $(D_DOC)/,$(DOCS) $(PAGES))
	@for dir in $(D_INCLUDE)/hmkv $(D_CMAKE) $(D_DOC)/docs $(D_DOC); do if [ -d $$dir ]; then rmdir $$dir; fi; done

dist: ## pack HEAD as a source archive
	@mkdir -p $(TARGET)
	git archive --prefix=hmkv-$(VERSION)/ -o $(TARGET)/hmkv-$(VERSION).tar.gz HEAD

clean: ## remove all that was built
	cargo clean
