#!/usr/bin/env bash
# Lays out python-stdnum 1.20, as published, as a git repository with one commit.
#
#   fetch.sh DEST
#
# pip fetches the pinned source distribution. Running it again on a DEST that already holds this repository does
# nothing, so a half-done DEST has to be removed by hand. The commit's author and dates are fixed: the same bytes
# give the same commit id, whoever fetches them.
set -euo pipefail

name=python-stdnum
version=1.20
sha256=ad2a2cf2eb025de408210235f36b4ae31252de3186240ccaa8126e117cb82690

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

echo "fetching $name $version with pip"
python3 -m pip download --quiet --disable-pip-version-check --no-deps --no-binary "$name" --dest "$scratch" "$name==$version"
sdist="$scratch/$name-$version.tar.gz"
if [ "$(sha256_of "$sdist")" != "$sha256" ]; then
    echo "$name-$version.tar.gz is not the pinned file: its sha256 is $(sha256_of "$sdist")" >&2
    exit 1
fi

mkdir -p "$dest"
dest=$(cd "$dest" && pwd)
tar -xzf "$sdist" --strip-components=1 -C "$dest"
cd "$dest"

rm -rf PKG-INFO python_stdnum.egg-info
# The job installs its tools there, once a workspace.
printf '/.tools\n/.pytest_cache\n' >> .gitignore

export GIT_AUTHOR_NAME=longhaul-example GIT_AUTHOR_EMAIL=example@longhaul.invalid
export GIT_COMMITTER_NAME=$GIT_AUTHOR_NAME GIT_COMMITTER_EMAIL=$GIT_AUTHOR_EMAIL
export GIT_AUTHOR_DATE='2024-01-01T00:00:00+0000' GIT_COMMITTER_DATE='2024-01-01T00:00:00+0000'
git init --quiet --initial-branch=main .
git -c core.autocrlf=false -c core.excludesFile=/dev/null add --all
git -c commit.gpgsign=false -c core.hooksPath=/dev/null commit --quiet --message "$marker"
echo "$dest: $(git rev-parse HEAD) ($(git ls-files '*.py' | wc -l | tr -d ' ') Python files)"
