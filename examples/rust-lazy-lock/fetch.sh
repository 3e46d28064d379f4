#!/usr/bin/env bash
# Lays out ucd-parse 0.1.8, as published, as a git repository with one commit.
#
#   fetch.sh DEST
#
# The crate and the versions of its dependencies are pinned; cargo fetches them. Running it again on a DEST that
# already holds this repository does nothing, so a half-done DEST has to be removed by hand. The commit's author
# and dates are fixed: the same bytes give the same commit id, whoever fetches them.
set -euo pipefail

name=ucd-parse
version=0.1.8
sha256=5269f8d35df6b8b60758343a6d742ecf09e4bca13faee32af5503aebd1e11b7c

dest=${1:?usage: fetch.sh DEST}
marker="$name $version, as published"

if git -C "$dest" log --format=%s 2>/dev/null | grep -xF "$marker" >/dev/null; then
    echo "$dest already holds $name $version"
    exit 0
fi
if [ -e "$dest" ] && [ -n "$(ls -A "$dest")" ]; then
    echo "$dest is not empty and is not $name $version" >&2
    exit 1
fi

sha256_of() {
    if command -v sha256sum >/dev/null; then sha256sum "$1"; else shasum -a 256 "$1"; fi | cut -d' ' -f1
}

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

echo "fetching $name $version and its dependencies with cargo"
mkdir -p "$scratch/probe/src"
: > "$scratch/probe/src/lib.rs"
cat > "$scratch/probe/Cargo.toml" <<TOML
[package]
name = "probe"
version = "0.0.0"
edition = "2021"
[workspace]
[dependencies]
$name = "=$version"
# The rest is here to pin it: it all ends up in the repository's Cargo.lock.
lazy_static = "=1.5.0"
regex = "=1.11.1"
regex-automata = "=0.4.9"
regex-syntax = "=0.8.5"
aho-corasick = "=1.1.3"
memchr = "=2.7.4"
TOML
(cd "$scratch/probe" && cargo fetch --quiet)

crate=
for file in "${CARGO_HOME:-$HOME/.cargo}"/registry/cache/*/"$name-$version.crate"; do
    if [ -f "$file" ] && [ "$(sha256_of "$file")" = "$sha256" ]; then crate=$file; fi
done
if [ -z "$crate" ]; then
    echo "no $name-$version.crate with sha256 $sha256 in cargo's cache" >&2
    exit 1
fi

mkdir -p "$dest"
dest=$(cd "$dest" && pwd)
tar -xzf "$crate" --strip-components=1 -C "$dest"
cd "$dest"

# The manifest as its author wrote it. `[workspace]` keeps cargo from looking for one in the folders above.
mv Cargo.toml.orig Cargo.toml
rm -f .cargo_vcs_info.json
printf '\n[workspace]\n' >> Cargo.toml
# The upstream repository's style, which a published crate leaves out; today's rustfmt wraps two lines differently,
# and a base that is already formatted lets `fix` touch only what a subtask changed.
printf 'max_width = 79\nuse_small_heuristics = "max"\n' > rustfmt.toml
cargo fmt
printf '/target\n' > .gitignore
cp "$scratch/probe/Cargo.lock" Cargo.lock
cargo update --quiet --workspace --offline

export GIT_AUTHOR_NAME=longhaul-example GIT_AUTHOR_EMAIL=example@longhaul.invalid
export GIT_COMMITTER_NAME=$GIT_AUTHOR_NAME GIT_COMMITTER_EMAIL=$GIT_AUTHOR_EMAIL
export GIT_AUTHOR_DATE='2024-01-01T00:00:00+0000' GIT_COMMITTER_DATE='2024-01-01T00:00:00+0000'
git init --quiet --initial-branch=main .
git -c core.autocrlf=false add --all
git -c commit.gpgsign=false -c core.hooksPath=/dev/null commit --quiet --message "$marker"
echo "$dest: $(git rev-parse HEAD) ($(git ls-files | wc -l | tr -d ' ') files)"
