#!/usr/bin/env bash
# Builds the images, brings compose.yaml up, runs a job of 24 subtasks through it from the outside,
# kills a worker and restarts the coordinator on the way, verifies the result, takes all down.
#
#   try.sh                 what it needs: root, docker.io and docker-compose (or the compose plugin),
#                          openssl, python3, git; debootstrap where no registry is reached
#
# BASE        base image; default: debian:trixie-slim if it can be pulled, else base.sh makes one
# NATS_IMAGE  default: nats:2.15-alpine if it can be pulled, else made from deploy/nats/install.sh
# BINARY      the longhaul binary to put into the image and to call; default: target/release/longhaul,
#             else target/debug/longhaul (what the machine that built it has for a libc must not be
#             newer than the image's)
# KEEP=1      leaves everything running
#
# An engine that it starts itself leaves what every Docker engine leaves: docker0 and firewall rules
# (`ip link del docker0`, `iptables -P FORWARD ACCEPT`), and its images in target/try/docker.
set -euo pipefail
cd "$(dirname "$0")/../.."
root=$PWD
place=$root/target/try
compose_file=$root/deploy/docker/compose.yaml
export LONGHAUL_PORT=${LONGHAUL_PORT:-7117} COMPOSE_PROJECT_NAME=longhaul-try DOCKER_BUILDKIT=0
mkdir -p "$place"

say() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
# Waits until a command succeeds: tries, a second apart.
until_ok() {
    local tries=$1
    shift
    for ((n = 0; n < tries; n++)); do
        if "$@" >/dev/null 2>&1; then return; fi
        sleep 1
    done
    echo "try.sh: gave up after $tries s: $*" >&2
    return 1
}
compose() {
    if docker compose version >/dev/null 2>&1; then docker compose -f "$compose_file" "$@"; else docker-compose -f "$compose_file" "$@"; fi
}
engine=
finish() {
    local code=$?
    if [ "${up:-}" ] && [ "$code" != 0 ]; then compose logs --tail 40 >&2 || true; fi
    if [ "${KEEP:-}" ]; then exit "$code"; fi
    if [ "${up:-}" ]; then compose down --volumes --timeout 20 >/dev/null 2>&1 || true; fi
    if [ "$engine" ]; then
        kill "$engine" 2>/dev/null || true
        wait "$engine" 2>/dev/null || true
    fi
    exit "$code"
}
trap finish EXIT

if ! docker info 2>/dev/null | grep -q 'Server Version'; then
    say "no Docker engine answers: starting one in target/try/docker"
    mkdir -p "$place/docker"
    export DOCKER_HOST=unix://$place/docker/sock
    dockerd --data-root "$place/docker/data" --exec-root "$place/docker/exec" --pidfile "$place/docker/pid" \
        --host "$DOCKER_HOST" >"$place/docker/log" 2>&1 &
    engine=$!
    until_ok 30 docker info
fi

say "images"
base=${BASE:-}
if [ -z "$base" ] && docker pull -q debian:trixie-slim 2>/dev/null; then base=debian:trixie-slim; fi
if [ -z "$base" ]; then
    base=longhaul-base:trixie
    docker image inspect "$base" >/dev/null 2>&1 || deploy/docker/base.sh "$base"
fi
binary=${BINARY:-target/release/longhaul}
[ -x "$binary" ] || binary=target/debug/longhaul
[ -x "$binary" ] || { echo "try.sh: no binary: cargo build --release -p longhaul" >&2; exit 1; }
binary=$(realpath "$binary")
mkdir -p target/image
strip -o target/image/longhaul "$binary"
docker build -q -f deploy/docker/Dockerfile -t longhaul --target prebuilt --build-arg "BASE=$base" . 2>/dev/null
if [ -z "${NATS_IMAGE:-}" ] && ! docker pull -q nats:2.15-alpine 2>/dev/null; then
    export NATS_IMAGE=longhaul-nats
    server=${LONGHAUL_NATS_SERVER:-$root/target/tools/bin/nats-server}
    [ -x "$server" ] || deploy/nats/install.sh "$root/target/tools"
    rm -rf "$place/nats" && mkdir -p "$place/nats"
    cp "$server" "$place/nats/nats-server"
    docker build -q -f deploy/docker/nats.Dockerfile -t "$NATS_IMAGE" "$place/nats" 2>/dev/null
fi
docker image ls --format '{{.Repository}}:{{.Tag}}  {{.Size}}'

say "up"
deploy/docker/secrets.sh
up=yes
compose up -d
state() { docker inspect --format '{{.State.Health.Status}}' "$(compose ps -q "$1")"; }
healthy() { [ "$(state "$1")" = healthy ]; }
for service in serve worker1 worker2 worker3; do
    until_ok 90 healthy "$service"
    echo "$service: $(state "$service")"
done

say "a job of 24 subtasks"
job=$place/job
rm -rf "$job" && mkdir -p "$job/repo/src"
for n in {10..33}; do printf 'hello %s\nkeep this line\n' "$n" >"$job/repo/src/f$n.txt"; done
printf 'set -e\nfor f in src/*.txt; do grep -q "keep this line" "$f"; done\n' >"$job/repo/gate.sh"
git -C "$job/repo" init -q -b main
git -C "$job/repo" add -A
git -C "$job/repo" -c user.name=try -c user.email=try@example.org commit -qm start
cat >"$job/longhaul.toml" <<'TOML'
goal = "Say goodbye everywhere"
name = "goodbye"
[[repo]]
name = "app"
path = "repo"
base = "main"
[agent.edit]
kind = "command"
run = "sed -i s/hello/goodbye/ {files} && sleep 1"
[[map]]
id = "word-{stem}"
files = "src/*.txt"
group = "file"
ladder = ["edit"]
[gate]
run = "sh gate.sh"
TOML
secrets=$root/deploy/docker/secrets
export LONGHAUL_SERVER=https://127.0.0.1:$LONGHAUL_PORT
longhaul() { (cd "$job" && "$binary" --ca "$secrets/ca.pem" --token-file "$secrets/you.token" "$@"); }
longhaul run --json >"$job/events.jsonl" 2>"$job/log" &
run=$!
delivered() { [ "$(grep -c '"event":"delivered"' "$job/events.jsonl")" -ge "$1" ] || ! kill -0 "$run" 2>/dev/null; }
until_ok 120 delivered 4
say "killing worker2, restarting the coordinator"
docker kill "$(compose ps -q worker2)" >/dev/null
compose restart --timeout 30 serve 2>/dev/null
compose up -d worker2 2>/dev/null
wait "$run" || { tail -n 20 "$job/log" >&2; echo "try.sh: the run ended with $?" >&2; exit 1; }

say "the result"
longhaul status
longhaul verify | tee "$job/verify"
grep -q '24 subtasks proven landed, 0 findings' "$job/verify"
[ "$(git -C "$job/repo" grep -l goodbye longhaul/goodbye -- src | wc -l)" = 24 ]

say "a worker drains on SIGTERM"
begun=$(date +%s)
compose stop worker1 2>/dev/null
echo "worker1: exit $(docker inspect --format '{{.State.ExitCode}}' "$(compose ps -aq worker1)") after $(($(date +%s) - begun)) s"
say "all good"
