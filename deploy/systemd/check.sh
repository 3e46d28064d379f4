#!/usr/bin/env bash
# Checks the units: `systemd-analyze verify`, then the exposure score of each against its limit.
#
#   check.sh [BINARY]      the longhaul binary to find behind ExecStart; default: a stand-in
set -euo pipefail
binary=$(realpath "${1:-/bin/true}")
cd "$(dirname "$0")"

command -v systemd-analyze >/dev/null || { echo "check.sh: systemd-analyze is missing (package systemd)" >&2; exit 1; }
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

for unit in *.service; do
    sed -e "s|/usr/bin/longhaul |$binary |" -e "s|/usr/local/bin/nats-server |/bin/true |" "$unit" >"$scratch/$unit"
done
cp "$scratch/longhaul-worker@.service" "$scratch/longhaul-worker@one.service"
mkdir "$scratch/longhaul-loopback.service.d"
cp "$scratch/longhaul-serve.service" "$scratch/longhaul-loopback.service"
sed "s|/usr/bin/longhaul |$binary |" loopback.conf >"$scratch/longhaul-loopback.service.d/loopback.conf"

# Limits in tenths, a little above what was measured: 10.0 is wide open.
check() {
    local unit=$1 limit=$2
    systemd-analyze verify --recursive-errors=no --man=no "$scratch/$unit"
    systemd-analyze security --no-pager --offline=yes --threshold="$limit" "$scratch/$unit" >"$scratch/table" || {
        cat "$scratch/table"
        echo "check.sh: $unit is more exposed than $limit tenths" >&2
        exit 1
    }
    tail -n 1 "$scratch/table" | sed "s|^→ ||"
}
check longhaul-serve.service 15
check longhaul-loopback.service 15
check longhaul-worker@one.service 35
check nats-server.service 20
