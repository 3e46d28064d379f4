#!/usr/bin/env bash
# The tests of the three services, each with its own runner, and then the contract between them. Needs setup.sh first.
set -euo pipefail
cd "$(dirname "$0")/.."

echo "formatter (Python)"
PYTHONPATH=services/formatter/src python3 -B -m unittest discover --quiet \
    --start-directory services/formatter/tests --top-level-directory services/formatter
echo "viewer (Rust)"
cargo test --quiet --offline --locked --manifest-path services/viewer/Cargo.toml
echo "prettystream (JavaScript)"
(cd services/prettystream && node node_modules/mocha/bin/_mocha --reporter dot test/*.js)
echo "contract"
python3 -B contract/check.py
