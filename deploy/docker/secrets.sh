#!/usr/bin/env bash
# Makes what compose.yaml mounts, in ./secrets beside it: an authority, certificates, nkeys, tokens.
# What is there is kept. For a try and for a first fleet; a company has its own authority.
#
#   secrets.sh             then give FILE.token of `you` to `longhaul --token-file`
set -euo pipefail
cd "$(dirname "$0")"
umask 077
mkdir -p secrets
here=$PWD
cd secrets
names=(w1 w2 w3)

if [ ! -e ca.pem ]; then
    openssl req -x509 -newkey ed25519 -nodes -days 825 -subj "/CN=longhaul" -keyout ca.key -out ca.pem 2>/dev/null
fi
for server in serve nats; do
    [ -e "$server.pem" ] && continue
    openssl req -newkey ed25519 -nodes -subj "/CN=$server" -keyout "$server.key" -out "$server.csr" 2>/dev/null
    openssl x509 -req -in "$server.csr" -CA ca.pem -CAkey ca.key -CAcreateserial -days 825 -out "$server.pem" \
        -extfile <(printf 'subjectAltName=DNS:%s,DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n' "$server") 2>/dev/null
    rm "$server.csr"
done

token() { # name, roles; the entry goes to stdout, the token into a file
    [ -e "$1.token" ] || openssl rand -hex 32 >"$1.token"
    printf '[[token]]\nname = "%s"\nroles = [%s]\nsha256 = "%s"\n' "$1" "$2" "$(tr -d '\n' <"$1.token" | sha256sum | cut -d' ' -f1)"
}
{
    token you '"submit", "approve", "read"'
    for name in "${names[@]}"; do token "$name" '"work"'; done
} >access.toml
"$here/../nats/accounts.py" . default coordinator "${names[@]}"

# Compose mounts a secret as the file it is, so the containers' user must be able to read it. The
# authority's key and your own token go into no container.
chmod 0644 ca.pem serve.pem nats.pem access.toml accounts.conf
if [ "$(id -u)" = 0 ]; then
    chown 10001:10001 serve.key nats.key ./*.nkey w?.token
else
    echo "secrets.sh: not root, so the keys become readable by everyone on this machine" >&2
    chmod 0644 serve.key nats.key ./*.nkey w?.token
fi
