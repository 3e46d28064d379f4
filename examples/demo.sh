#!/usr/bin/env bash
# The main job, on code none of us wrote: shows the plan, runs it, kills itself in the middle on
# purpose, resumes, and prints what landed, the verified receipts and where the report is.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
example=${1:-rust-lazy-lock}
place=$root/target/demo/$example

say() { printf '\n\033[1m== %s\033[0m\n' "$*"; }

say "building longhaul (crates from the registry, pinned by Cargo.lock)"
(cd "$root" && cargo build --workspace --all-targets --quiet)
export LONGHAUL_STATE_DIR=$place/state
PATH=$root/target/debug:$PATH

rm -rf "$place"
mkdir -p "$place"
cp -R "$root/examples/$example/." "$place/"
cd "$place"

say "fetching the code to migrate"
bash fetch.sh "$place/repo"

say "longhaul plan"
longhaul plan

say "longhaul run, to be killed after the fourth result"
longhaul run --json >events.jsonl 2>run.log &
runner=$!
# Wait on what it says, not on the clock.
{ tail --pid=$runner -n +1 -f events.jsonl 2>/dev/null || true; } | grep -m4 '"event":"delivered"' | sed -E 's/.*"text":"([^"]*)".*/   delivered \1/' || true
if kill -KILL "$runner" 2>/dev/null; then
  wait "$runner" 2>/dev/null || true
  say "killed with SIGKILL; nothing finished is lost"
else
  wait "$runner" || true
  say "it was done before it could be killed"
fi
longhaul status

say "longhaul resume"
longhaul resume

say "longhaul verify"
longhaul verify

say "what landed"
git -C repo log --oneline --first-parent "main..longhaul/$(longhaul status --json | sed -E 's/.*"job":"([^"]*)".*/\1/')"
longhaul diff --stat | tail -3

say "the page of the morning"
longhaul report
