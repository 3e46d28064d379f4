#!/usr/bin/env bash
# Starts a real server on every configuration here: single, fleet (TLS and nkeys), and a cluster of
# three on addresses of the loopback interface, whose JetStream must elect a leader. On each a
# coordinator makes a fleet's streams, for which the configuration must leave room.
#
#   check.sh [NATS-SERVER [LONGHAUL]]     default: $LONGHAUL_NATS_SERVER, or the one on PATH, and
#                                         what `cargo build` left in target/debug
set -euo pipefail
server=$(command -v "${1:-${LONGHAUL_NATS_SERVER:-nats-server}}") || { echo "check.sh: no nats-server: see install.sh" >&2; exit 1; }
server=$(realpath "$server")
longhaul=$(realpath "${2:-$(dirname "$0")/../../target/debug/longhaul}")
[ -x "$longhaul" ] || { echo "check.sh: no $longhaul: build it or name it" >&2; exit 1; }
cd "$(dirname "$0")"
here=$PWD

place=$(mktemp -d)
started=()
finish() {
    for pid in "${started[@]}"; do kill -KILL "$pid" 2>/dev/null || true; done
    rm -rf "$place"
}
trap finish EXIT

authority() { # name
    openssl req -x509 -newkey ed25519 -nodes -days 2 -subj "/CN=$1" -keyout "$place/$1.key" -out "$place/$1.pem" 2>/dev/null
}
certificate() { # folder, name, authority, subject alternative names
    openssl req -newkey ed25519 -nodes -subj "/CN=$2" -keyout "$1/$2.key" -out "$place/csr" 2>/dev/null
    openssl x509 -req -in "$place/csr" -CA "$place/$3.pem" -CAkey "$place/$3.key" -CAcreateserial -days 2 \
        -extfile <(printf 'subjectAltName=%s\nextendedKeyUsage=serverAuth,clientAuth\n' "$4") -out "$1/$2.pem" 2>/dev/null
    cp "$place/$3.pem" "$1/"
}
node() { # folder
    mkdir "$1"
    cp "$here"/*.conf "$1/"
    sed -i -e "s|/var/lib/nats|$1/store|" -e "s|/etc/nats/|$1/|" "$1"/*.conf
}
# Starts it and waits for a line of its log.
start() { # folder, configuration, line, further options
    local folder=$1 config=$2 line=$3
    shift 3
    "$server" -t --config "$folder/$config" >/dev/null
    "$server" --config "$folder/$config" "$@" >"$folder/log" 2>&1 &
    started+=($!)
    disown
    wait_for "$folder/log" "$line"
}
wait_for() { # log, line
    for _ in {1..300}; do
        if grep -q "$2" "$1"; then return; fi
        sleep 0.1
    done
    tail -n 30 "$1" >&2
    echo "check.sh: no line with '$2' in $1 after 30 s" >&2
    exit 1
}

# A coordinator makes the four streams of a fleet; it is ended again.
streams() { # folder, monitoring port, options of `longhaul serve`
    local folder=$1 port=$2 found pid
    shift 2
    "$longhaul" serve --state-dir "$folder/state" --listen 127.0.0.1:0 "$@" >"$folder/serve" 2>&1 &
    pid=$!
    started+=("$pid")
    for _ in {1..300}; do
        found=$(curl -sS "http://127.0.0.1:$port/jsz" | tr -d ' \n' | grep -o '"streams":[0-9]*' || true)
        if [ "$found" = '"streams":4' ]; then
            kill -TERM "$pid" && wait "$pid" || true
            echo "  the streams of a fleet are made"
            return
        fi
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.1
    done
    tail -n 30 "$folder/serve" "$folder/log" >&2
    echo "check.sh: the streams were not made on $folder: $found" >&2
    exit 1
}

authority ca
authority cluster-ca
node "$place/single"
start "$place/single" single.conf "Server is ready" --port 14222 --http_port 18222
echo "single.conf: ready"
streams "$place/single" 18222 --nats nats://127.0.0.1:14222

node "$place/fleet"
certificate "$place/fleet" server ca IP:127.0.0.1
./accounts.py "$place/fleet" default coordinator w1 w2 w3
start "$place/fleet" fleet.conf "Server is ready" --addr 127.0.0.1 --port 14223 --http_port 18223
echo "fleet.conf: ready, $(grep -c nkey: "$place/fleet/accounts.conf") users"
streams "$place/fleet" 18223 --nats tls://127.0.0.1:14223 --nats-ca "$place/ca.pem" --nats-nkey "$place/fleet/coordinator.nkey"

# Three nodes on one machine: an address each, one monitoring port each.
./accounts.py "$place/keys" default coordinator w1 w2 w3
export NATS_ROUTE_1='"tls://127.0.0.11:6222"' NATS_ROUTE_2='"tls://127.0.0.12:6222"' NATS_ROUTE_3='"tls://127.0.0.13:6222"'
for n in 1 2 3; do
    node "$place/n$n"
    certificate "$place/n$n" server ca "IP:127.0.0.1$n"
    certificate "$place/n$n" cluster cluster-ca "IP:127.0.0.1$n"
    cp "$place/keys/accounts.conf" "$place/n$n/"
    export NATS_NAME="\"n$n\"" NATS_HOST=127.0.0.1$n NATS_STORE="\"$place/n$n/store\""
    # Ready comes with a quorum, so the first one is not waited for.
    start "$place/n$n" cluster-3.conf "Listening for route connections" --http_port "1823$n"
done
for n in 1 2 3; do wait_for "$place/n$n/log" "Server is ready"; done
for n in 1 2 3; do
    wait_for "$place/n$n/log" "JetStream cluster new metadata leader\|Self is new JetStream cluster metadata leader"
done
routes=$(curl -sS "http://127.0.0.1:18231/varz" | grep -c '"tls_required": true')
[ "$routes" -ge 1 ] || { echo "check.sh: clients' TLS is off" >&2; exit 1; }
echo "cluster-3.conf: three nodes, a leader, $(curl -sS http://127.0.0.1:18231/jsz | tr -d ' \n' | grep -o '"cluster_size":[0-9]*')"
streams "$place/n1" 18231 --nats-replicas 3 --nats tls://127.0.0.11:4222,tls://127.0.0.12:4222,tls://127.0.0.13:4222 \
    --nats-ca "$place/ca.pem" --nats-nkey "$place/keys/coordinator.nkey"
