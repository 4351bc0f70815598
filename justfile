# The commands of this repository. `./test` installs the tools they need and runs `just check`.

set shell := ["bash", "-euo", "pipefail", "-c"]

stubs := ".tools/stubs"

export PATH := justfile_directory() / ".tools/bin:" + env("PATH")

# List the recipes.
default:
    @just --list --unsorted

# Everything that must hold of a commit, each step with its time.
check: tools
    @scripts/steps fmt proto clippy doc test python deny

# Install the tools that are missing into .tools.
tools:
    @scripts/tools

# The code is formatted.
fmt:
    cargo fmt --all --check

# The protos are clean and formatted.
proto:
    buf lint
    buf format --diff --exit-code

# No lint speaks up.
clippy:
    cargo clippy --locked --all-targets -- -D warnings

# The documentation builds without a warning.
doc $RUSTDOCFLAGS="-D warnings":
    cargo doc --locked --no-deps --lib --examples

# The tests pass; some wait more than they work. Those of PostgreSQL share a private cluster; where none is named, a test
# process starts its own.
test:
    RUST_TEST_THREADS=${RUST_TEST_THREADS:-$(({{ num_cpus() }} + 1))} scripts/postgres run cargo test --locked

# An ordinary Python client gets on with the server.
python: stubs
    scripts/python-smoke

# Dependencies are of allowed kinds, licences and sources; offline.
deny:
    cargo-deny --offline --locked check --hide-inclusion-graph bans licenses sources

# Generate Python stubs from the protos into .tools/stubs; those of google.rpc come with a pinned package.
stubs:
    rm -rf {{ stubs }}
    mkdir -p {{ stubs }}
    .tools/venv/bin/python -m grpc_tools.protoc --proto_path=proto --proto_path=third_party \
        --python_out={{ stubs }} --pyi_out={{ stubs }} --grpc_python_out={{ stubs }} \
        $(find proto -name '*.proto' | sort)

# The long runs: every conversation of FILE as a thread and through engines, in Rust and in Python; then random commands
# against a model, of thirty seeds; a hundred rounds of kill -9, a storm of 64 engines, and an hour of three replicas over
# PostgreSQL while they die and are cut off.
soak FILE: stubs
    cargo run --locked --release --example soak -- {{ quote(FILE) }}
    scripts/python-smoke {{ quote(FILE) }}
    for _ in $(seq 30); do scripts/postgres run cargo test --locked --lib -- suite::model suite::reach || exit 1; done
    SESSIOND_ROUNDS=100 cargo test --locked --release --test it crash -- --nocapture
    SESSIOND_ROUNDS=100 cargo test --locked --release --test it storm -- --nocapture
    SESSIOND_MINUTES=60 cargo test --locked --release --test it cluster::faults -- --nocapture
    cargo bench --locked --bench wire -- watch library

# Measure the server over the wire.
bench:
    cargo bench --locked --bench wire

# Play a conversation into a server, save it, fork it, and show what came back.
demo:
    cargo run --locked --release -- demo

# Rewrite code and protos in their one format.
format:
    cargo fmt --all
    buf format --write
