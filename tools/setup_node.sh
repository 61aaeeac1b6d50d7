#!/usr/bin/env bash
# Makes node_modules with what checks the page's scripts; does nothing when it is up to date. Node and npm are in .venv.
set -euo pipefail
cd "$(dirname "$0")/.."

stamp=node_modules/.installed
wanted=$(cat package.json package-lock.json .npmrc | cksum)
[ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ] && exit 0

PATH="$PWD/.venv/bin:$PATH" npm ci --ignore-scripts --loglevel error >/dev/null
echo "$wanted" >"$stamp"
