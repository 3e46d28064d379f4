#!/usr/bin/env bash
# Makes the base image from Debian's packages, for machines that reach no image registry; where one
# is reached, leave this out: the Dockerfile's default BASE is debian:trixie-slim.
#
#   base.sh [TAG]          default longhaul-base:trixie; needs root, debootstrap and docker
#
# MIRROR (default: debootstrap's own) and SUITE may be set. The suite must have git 2.40 or newer: Debian 12's is 2.39.
set -euo pipefail

tag=${1:-longhaul-base:trixie}
suite=${SUITE:-trixie}

for tool in debootstrap docker; do
    command -v "$tool" >/dev/null || { echo "base.sh: $tool is missing: apt-get install debootstrap docker.io" >&2; exit 1; }
done
[ "$(id -u)" = 0 ] || { echo "base.sh: debootstrap needs root" >&2; exit 1; }

# Not below /tmp, which may be mounted without device files.
root=$(mktemp -d /var/tmp/longhaul-base.XXXXXX)
trap 'rm -rf --one-file-system "$root"' EXIT

debootstrap --variant=minbase --include=ca-certificates "$suite" "$root" ${MIRROR:+"$MIRROR"} >"$root.log" 2>&1 || {
    tail -n 20 "$root.log" >&2
    exit 1
}
rm -f "$root.log"

# What an image never reads: package lists and archives, manuals, translations (copyrights stay).
cat >"$root/etc/dpkg/dpkg.cfg.d/slim" <<'CFG'
path-exclude /usr/share/doc/*
path-include /usr/share/doc/*/copyright
path-exclude /usr/share/man/*
path-exclude /usr/share/info/*
path-exclude /usr/share/locale/*
CFG
find "$root/usr/share/doc" -type f ! -name copyright -delete
find "$root/usr/share/doc" -depth -type d -empty -delete
rm -rf "$root"/usr/share/{man,info,locale}/* "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/*.bin \
    "$root"/var/cache/apt/archives/*.deb "$root"/var/log/*.log "$root"/var/cache/debconf/*-old
rm -f "$root/etc/resolv.conf" "$root/etc/hostname"

tar --numeric-owner --xattrs -C "$root" -cf - . |
    docker import --change 'CMD ["/bin/bash"]' - "$tag"
docker image inspect --format "$tag {{.Size}} bytes" "$tag"
