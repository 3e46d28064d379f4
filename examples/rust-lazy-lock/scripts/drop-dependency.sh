#!/usr/bin/env bash
# Takes lazy_static out of the manifest and states the first Rust that has LazyLock. Refuses while any source still
# names lazy_static, so a run in the wrong order fails here and not in the gate. Cargo.lock is the job's derived file.
set -euo pipefail

if grep -rn 'lazy_static' src >&2; then
    echo "src still uses lazy_static" >&2
    exit 1
fi
awk '
    /^lazy_static[ \t]*=/ { next }
    /^rust-version[ \t]*=/ { stated = 1 }
    { print }
    /^edition[ \t]*=/ && !stated { print "rust-version = \"1.80\"" }
' Cargo.toml > Cargo.toml.new
mv Cargo.toml.new Cargo.toml
