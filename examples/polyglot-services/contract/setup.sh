#!/usr/bin/env bash
# Makes a checkout able to run the gate without the network.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo fetch --quiet --locked --manifest-path services/viewer/Cargo.toml
if [ ! -e services/prettystream/node_modules/mocha/bin/_mocha ]; then
    # The package pins what its tests load; it publishes no lockfile.
    npm install --prefix services/prettystream --silent --no-package-lock --no-audit --no-fund --ignore-scripts
fi
