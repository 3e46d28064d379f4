#!/usr/bin/env bash
# Lays out three published packages that share one format, Bunyan's JSON log records, as the services of one git
# repository with one commit:
#
#   services/formatter      bunyan-formatter 1.0.2 (pip, Python): writes the records
#   services/viewer         bunyan 0.1.10 (cargo, Rust): reads them, a command line tool
#   services/prettystream   bunyan-prettystream 0.1.3 (npm, JavaScript): reads them, a stream
#   contract/               ours: the gate, and a test that pipes the writer's records through both readers
#
#   fetch.sh DEST
#
# pip, cargo and npm fetch the pinned packages. Running it again on a DEST that already holds this repository does
# nothing, so a half-done DEST has to be removed by hand. The commit's author and dates are fixed: the same bytes
# give the same commit id, whoever fetches them.
set -euo pipefail

formatter=1.0.2
formatter_sha256=75ee93d8094eb3b472e9fffc1babfa596cd90ff0e9aa900bfd6bf45838fff503
viewer=0.1.10
viewer_sha256=cb30583e3e4549b730ee513d10ac738d269e56456f2ef8b86fd67778cb062b78
prettystream=0.1.3
prettystream_sha256=2fb6491031ef3c899dfee1f9ae2e46a4ff716d46ac5fb4f658c17e81d1f2aeeb

here=$(cd "$(dirname "$0")" && pwd)
dest=${1:?usage: fetch.sh DEST}
marker="bunyan-formatter $formatter, bunyan $viewer and bunyan-prettystream $prettystream, as published"

if git -C "$dest" log --format=%s 2>/dev/null | grep -xF "$marker" >/dev/null; then
    echo "$dest already holds the three services"
    exit 0
fi
if [ -e "$dest" ] && [ -n "$(ls -A "$dest")" ]; then
    echo "$dest is not empty and does not hold the three services" >&2
    exit 1
fi

sha256_of() {
    if command -v sha256sum >/dev/null; then sha256sum "$1"; else shasum -a 256 "$1"; fi | cut -d' ' -f1
}

# unpack FILE SHA256 FOLDER
unpack() {
    if [ "$(sha256_of "$1")" != "$2" ]; then
        echo "$(basename "$1") is not the pinned file: its sha256 is $(sha256_of "$1")" >&2
        exit 1
    fi
    mkdir -p "$3"
    # Old npm archives carry headers of npm's own, which tar reports and ignores.
    tar -xzf "$1" --strip-components=1 -C "$3" 2>"$scratch/tar.log" || { cat "$scratch/tar.log" >&2; exit 1; }
}

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mkdir -p "$dest"
dest=$(cd "$dest" && pwd)

echo "fetching bunyan-formatter $formatter with pip"
python3 -m pip download --quiet --disable-pip-version-check --no-deps --no-binary bunyan-formatter --dest "$scratch" "bunyan-formatter==$formatter"
unpack "$scratch/bunyan_formatter-$formatter.tar.gz" "$formatter_sha256" "$dest/services/formatter"

echo "fetching bunyan $viewer and its dependencies with cargo"
mkdir -p "$scratch/probe/src"
: > "$scratch/probe/src/lib.rs"
cat > "$scratch/probe/Cargo.toml" <<TOML
[package]
name = "probe"
version = "0.0.0"
edition = "2021"
[workspace]
[dependencies]
bunyan = "=$viewer"
TOML
(cd "$scratch/probe" && cargo fetch --quiet)
for file in "${CARGO_HOME:-$HOME/.cargo}"/registry/cache/*/"bunyan-$viewer.crate"; do
    if [ "$(sha256_of "$file")" = "$viewer_sha256" ]; then break; fi
done
unpack "$file" "$viewer_sha256" "$dest/services/viewer"

echo "fetching bunyan-prettystream $prettystream with npm"
(cd "$scratch" && npm pack --silent "bunyan-prettystream@$prettystream" >/dev/null)
unpack "$scratch/bunyan-prettystream-$prettystream.tgz" "$prettystream_sha256" "$dest/services/prettystream"

cd "$dest"
rm -rf services/formatter/{PKG-INFO,uv.lock,.github,.pre-commit-config.yaml,.python-version,.gitignore}
rm -f services/prettystream/{.travis.yml,.coveralls.yml,.npmignore,makefile}
rm -rf services/viewer/{.cargo_vcs_info.json,benchmark_*,images,.gitignore}
# The manifest as its author wrote it. `[workspace]` keeps cargo from looking for one in the folders above.
mv services/viewer/Cargo.toml.orig services/viewer/Cargo.toml
printf '\n[workspace]\n' >> services/viewer/Cargo.toml
cp -R "$here/contract" contract
cat > .gitignore <<'IGNORE'
__pycache__/
/services/viewer/target
/services/prettystream/node_modules
IGNORE

export GIT_AUTHOR_NAME=longhaul-example GIT_AUTHOR_EMAIL=example@longhaul.invalid
export GIT_COMMITTER_NAME=$GIT_AUTHOR_NAME GIT_COMMITTER_EMAIL=$GIT_AUTHOR_EMAIL
export GIT_AUTHOR_DATE='2024-01-01T00:00:00+0000' GIT_COMMITTER_DATE='2024-01-01T00:00:00+0000'
find . -type f -not -name '*.sh' -exec chmod 644 {} +
git init --quiet --initial-branch=main .
git -c core.autocrlf=false -c core.excludesFile=/dev/null add --all
git -c commit.gpgsign=false -c core.hooksPath=/dev/null commit --quiet --message "$marker"
echo "$dest: $(git rev-parse HEAD) ($(git ls-files | wc -l | tr -d ' ') files)"
