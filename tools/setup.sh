#!/usr/bin/env bash
# Makes .venv with everything that Easel needs; does nothing when it is up to date.
#   tools/setup.sh          what running and testing need
#   PYTHON=python3.12       another interpreter (3.11 or newer)
#   UV_TORCH_BACKEND=cpu    torch without CUDA, 5 GB smaller
set -euo pipefail
cd "$(dirname "$0")/.."

stamp=.venv/.installed
inputs=(requirements.txt requirements-dev.txt constraints.txt overrides.txt tools/setup.sh)
wanted=$(cat "${inputs[@]}" | cksum)
[ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ] && exit 0

say() { printf '%s\n' "$*" >&2; }

find_python() {
  local candidate
  for candidate in ${PYTHON:-} python3 python3.13 python3.12 python3.11; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
  say "Easel needs Python 3.11 or newer. Install it (Debian, Ubuntu: apt install python3 python3-venv) and run this again."
  exit 1
}

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi; }

python=$(find_python)
if [ ! -x .venv/bin/python ] && ! "$python" -m venv .venv >/dev/null 2>&1; then
  # Debian and Ubuntu keep venv in a package of its own.
  rm -rf .venv
  say "Installing python3-venv …"
  { as_root apt-get update -q && as_root apt-get install -yq python3-venv; } >/dev/null 2>&1 || true
  "$python" -m venv .venv || { say "Run: sudo apt install python3-venv   and then this again."; exit 1; }
fi

say "Installing packages (once; about 6 GB with CUDA, 1.5 GB with UV_TORCH_BACKEND=cpu) …"
.venv/bin/python -m pip install --quiet --disable-pip-version-check 'uv>=0.9'
install() { .venv/bin/uv pip install --quiet --constraint constraints.txt --override overrides.txt "$@"; }
# basicsr imports torch while it is built; alone it would fetch a second torch for that.
install torch numpy setuptools wheel cython
install --no-build-isolation-package basicsr --requirement requirements-dev.txt
echo "$wanted" >"$stamp"
