# The front door. `make demo` and `make test` need no step before them.
.PHONY: setup build python demo test bench conformance format fuzz clean help

help:
	@echo "make demo     set up, build, and do the main job on real data"
	@echo "make test     set up, build, run every test"
	@echo "make build    the release programs, as build/bin/dnc and build/bin/dnc-trainer"
	@echo "make python   the Python package, as build/python/dividenconquer"
	@echo "make conformance  how many models of Keras load, compute and come back the same"
	@echo "make setup    install the Debian packages that are missing"
	@echo "make bench    the table of speed and memory, with ratios"
	@echo "make fuzz     run each libFuzzer target for a short time"
	@echo "make format   clang-format the sources"
	@echo "make clean    remove build/"

setup:
	@bash tools/setup.sh

# Configures once; CMake configures again by itself when a list changes.
build/release/build.ninja: | setup
	@cmake --preset release >/dev/null

build: setup build/release/build.ninja
	@cmake --build --preset release

python: setup build/release/build.ninja
	@cmake --build --preset release --target dnc_python
	@echo "Built for $$(/usr/bin/python3 -V). Use it with:"
	@echo "  export PYTHONPATH=$(CURDIR)/build/python"
	@echo "  /usr/bin/python3 -c 'import dividenconquer as dnc; help(dnc)'"
	@echo "or, for another interpreter: pip install ."

demo: build
	@python3 examples/fashion_mnist/demo.py

test: build
	@ctest --preset release

bench: build
	@python3 bench/run.py

conformance: setup build/release/build.ninja
	@bash tools/conformance.sh

fuzz: setup
	@bash tools/fuzz.sh

format:
	@clang-format-14 -i $$(git ls-files '*.h' '*.cc')

clean:
	@rm -rf build
