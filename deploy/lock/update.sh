#!/bin/sh
# Re-makes the hash-pinned locks. Needs uv; run it from the repository's root, read the diff.
set -eu
lock() { # lock FILE ARG...
    out="deploy/lock/$1"; shift
    uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
        --no-emit-package torch --override deploy/lock/overrides.txt "$@" -o "$out"
}
lock build.txt deploy/lock/build.in
lock all.txt --extra node --extra exchange --extra examples --extra dev pyproject.toml deploy/lock/torch-deps.in
# The two smaller ones take the versions of the whole: what is tested is what is installed.
lock coordinator.txt --constraint deploy/lock/all.txt pyproject.toml
lock node.txt --constraint deploy/lock/all.txt --extra node pyproject.toml deploy/lock/torch-deps.in
