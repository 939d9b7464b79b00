# ngx_snorky_module; "make help" tells what can be made.

ifeq ($(origin CC),default)
CC = gcc
endif

NGINX_SRC = /usr/share/nginx/src
NGINX_BINARY = /usr/sbin/nginx

PORT = 8080
JOBS = 2
FUZZ_SECONDS = 20
TESTS =
PROFILE = fanout
BENCH_FLAGS =

# without those whose steps are too finely timed for a server so slow
VALGRIND_TESTS = $(or $(TESTS),$(filter-out \
                   $(wildcard t/demo*.t t/js_*.t) t/pubsub_reload.t \
                   t/docs_client.t t/docs_quickstart.t t/status.t \
                   t/status_page.t t/status_prometheus.t \
                   t/datasync_reload.t t/datasync_workers.t t/model_faults.t \
                   t/original_client.t t/websocket_timeout.t,$(wildcard t/*.t)))

# what clients see of it, once more, where connections have no request
LEAN_TESTS = $(addprefix t/,pubsub.t pubsub_workers.t pubsub_reload.t \
               broker_worker_killed.t hub_quit.t messaging.t chat.t cursors.t \
               datasync.t websocket_tls.t websocket_close.t websocket_echo.t \
               websocket_identity.t websocket_frame.t upstream.t event.t)

DESTDIR =
INCLUDEDIR =

MODULE = build/ngx_snorky_module.so
FAULTS = build/faults/ngx_snorky_module.so
FOREIGN = build/foreign
CLIENT = build/js
NPM = node_modules/.package-lock.json
TREE = build/nginx-dev

export CC NGINX_SRC NGINX_BINARY JOBS INCLUDEDIR

.PHONY: help run test build unit fuzz check sanitize valgrind install clean
.PHONY: build-clang build-faults build-foreign build-sanitize client suite
.PHONY: suite-lean tree bench instructions profile deb deb-test
.DELETE_ON_ERROR:


help:  ## this list
	@echo "ngx_snorky_module: make TARGET [VARIABLE=value]"
	@echo
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1|\2/p' $(MAKEFILE_LIST) \
	    | awk -F'|' '{ printf "%-16s%s\n", $$1, $$2 }'
	@echo
	@echo "What is needed of Debian's packages is installed by run, test,"
	@echo "sanitize, valgrind and so on; all else is written below build/ only,"
	@echo "but for the report of bench."

run:  ## build, start nginx with the demo in the foreground (PORT=8080)
	@util/deps run
	@$(MAKE) -s build
	@! command -v npm >/dev/null || [ -d node_modules/sockjs-client ] \
	    || npm_config_fetch_retries=0 $(MAKE) -s $(NPM) || true
	@util/run $(PORT)

build:  ## leave build/ngx_snorky_module.so (CC=gcc, NGINX_SRC=nginx's sources)
	@util/build $(TREE) $(MODULE)

# with places to die at, for the tests of a worker's death
build-faults:
	@util/build build/nginx-faults $(FAULTS) -DNGX_SNORKY_FAULTS=1

# modules with service types of their own, as somebody else would build them
build-foreign: build
	@util/foreign $(MODULE) $(FOREIGN)

client: $(NPM)  ## the JavaScript client, as npm has it, in build/js
	@util/client $(CLIENT)

# another compiler's warnings
build-clang:
	@CC=clang util/build build/nginx-clang build/clang/ngx_snorky_module.so


# what the tests use of npm's packages, and the demo, which can do without

$(NPM): package-lock.json
	@npm ci --no-audit --no-fund --ignore-scripts --cache build/npm
	@touch $@


# With TESTS, only those files of t/ are run.

ifeq ($(TESTS),)
test:  ## all that follows up to "check", the suites, packages (TESTS=t/x.t JOBS=2)
	@util/deps test
	@$(MAKE) -s check
	@$(MAKE) -s build
	@$(MAKE) -s build-clang
	@$(MAKE) -s unit
	@$(MAKE) -s instructions
	@$(MAKE) -s fuzz
	@$(MAKE) -s suite
	@$(MAKE) -s suite-lean
	@$(MAKE) -s deb-test
else
test:
	@util/deps test
	@$(MAKE) -s suite
endif

suite: build build-faults build-foreign client
	@SNORKY_MODULE=$(CURDIR)/$(MODULE) \
	    TEST_SNORKY_FAULTS=$(CURDIR)/$(FAULTS) \
	    TEST_SNORKY_FOREIGN=$(CURDIR)/$(FOREIGN) util/suite $(TESTS)

suite-lean: build build-faults build-foreign client  ## a part of the suite with snorky_lean on (JOBS=2)
	@SNORKY_MODULE=$(CURDIR)/$(MODULE) \
	    TEST_SNORKY_FAULTS=$(CURDIR)/$(FAULTS) \
	    TEST_SNORKY_FOREIGN=$(CURDIR)/$(FOREIGN) \
	    TEST_NGINX_GLOBALS_HTTP="snorky_lean on; $$TEST_NGINX_GLOBALS_HTTP" \
	    util/suite $(LEAN_TESTS)


# Unit tests and fuzzers take the rooms that need no running nginx, and one
# file that stands in for what these use of it.

ROOMS = $(filter-out src/base/ngx_snorky_time.c, \
                     $(wildcard src/base/*.c src/proto/*.c)) \
        src/shm/ngx_snorky_log.c \
        $(wildcard src/services/ngx_snorky_filter.c \
                   src/services/ngx_snorky_matcher*.c) t/unit/nginx_shim.c
UNITS = $(patsubst t/unit/%.c,build/unit/%.t, \
        $(filter-out t/unit/nginx_shim.c,$(wildcard t/unit/*.c)))
FUZZERS = $(patsubst t/fuzz/%.c,%,$(wildcard t/fuzz/*.c))

INCS = $(addprefix -isystem $(TREE)/,src/core src/event src/os/unix objs) \
       -Isrc/api -Isrc/base -Isrc/proto -Isrc/shm -Isrc/services -It/unit

TEST_CFLAGS = -O1 -g -Wall -Wextra -Wno-unused-parameter -Werror -MMD -MP \
              -fno-omit-frame-pointer -DNGX_SNORKY_UNIT=1 $(INCS)

UNIT_SANITIZE = -fsanitize=address,undefined -fno-sanitize-recover=undefined
FUZZ_SANITIZE = $(UNIT_SANITIZE) -fsanitize=fuzzer

tree:
	@util/build $(TREE) -

build/unit/%.o: %.c | tree
	@mkdir -p $(@D)
	@$(CC) $(TEST_CFLAGS) $(UNIT_SANITIZE) -c -o $@ $<

build/unit/%.t: t/unit/%.c $(ROOMS:%.c=build/unit/%.o) | tree
	@$(CC) $(TEST_CFLAGS) $(UNIT_SANITIZE) -o $@ $(filter %.c %.o,$^) -lyajl -lz -lpthread

build/fuzz/%.o: %.c | tree
	@mkdir -p $(@D)
	@clang $(TEST_CFLAGS) $(UNIT_SANITIZE) -fsanitize=fuzzer-no-link \
	    -c -o $@ $<

build/fuzz/bin/%: t/fuzz/%.c $(ROOMS:%.c=build/fuzz/%.o) | tree
	@mkdir -p $(@D)
	@clang $(TEST_CFLAGS) $(FUZZ_SANITIZE) -o $@ $(filter %.c %.o,$^) -lyajl -lz -lpthread

.SECONDARY:
-include $(wildcard build/unit/*.d build/unit/*/*.d build/unit/*/*/*.d)
-include $(wildcard build/fuzz/bin/*.d build/fuzz/*/*/*.d)

unit: $(UNITS)  ## tests of json, ws_frame, map, log in C, with ASan and UBSan
	@prove -j $(JOBS) --exec '' $(UNITS)

instructions:  ## of a delivery, a publication, ..., against bench/budget (RENEW=1)
	@util/deps instructions
	@$(MAKE) -s build
ifeq ($(CC),gcc)
	@bench/instructions $(if $(RENEW),renew --runs=3,check)
else
	@echo "instructions: not counted, bench/budget is for gcc"
endif

fuzz: $(FUZZERS:%=build/fuzz/bin/%)  ## each fuzzer of t/fuzz for a while (FUZZ_SECONDS=20)
	@util/fuzz $(FUZZ_SECONDS) $(FUZZERS)


check:  ## layers, names and style of the sources
	@util/check

sanitize:  ## nginx and module with ASan and UBSan, and the suite against them
	@util/deps sanitize
	@$(MAKE) -s build-sanitize client
	@util/sanitize test build/sanitize $(TESTS)

build-sanitize:
	@util/sanitize fetch build/sanitize
	@util/sanitize build build/sanitize

valgrind:  ## the suite with nginx under valgrind, slow (TESTS=t/x.t)
	@util/deps valgrind
	@$(MAKE) -s build build-faults build-foreign client
	@SNORKY_MODULE=$(CURDIR)/$(MODULE) \
	    TEST_SNORKY_FAULTS=$(CURDIR)/$(FAULTS) \
	    TEST_SNORKY_FOREIGN=$(CURDIR)/$(FOREIGN) \
	    util/valgrind build/valgrind $(VALGRIND_TESTS)

profile:  ## where they and the time go (PROFILE=fanout, publish, post, ping, connect)
	@util/deps profile
	@$(MAKE) -s build
	@bench/instructions profile --only=$(PROFILE) --dir=build/profile

bench:  ## nchan, Node's ws, the least possible: docs/benchmarks.md (BENCH_FLAGS=)
	@util/deps bench
	@$(MAKE) -s build
	-@$(MAKE) -s $(NPM)
	@bench/run $(BENCH_FLAGS)

deb:  ## Debian packages of the module and its header, in build/deb
	@util/deps deb
	@util/deb build/deb

deb-test:  ## they are built twice, looked at, installed, used, removed (root)
	@util/deps deb-test
	@util/deb build/deb
	@util/deb build/deb-again
	@util/deb-test look build/deb build/deb-again
	@util/deb-test use build/deb

install: build  ## the module to nginx's others, and the header (DESTDIR= INCLUDEDIR=)
	@util/install $(MODULE) $(DESTDIR)

clean:  ## remove build/
	rm -rf build
