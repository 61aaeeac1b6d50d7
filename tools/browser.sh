#!/usr/bin/env bash
# Makes sure that a Chromium is there for the page tests; installs Debian's when it may.
set -u
for name in chromium chromium-browser google-chrome; do
  command -v "$name" >/dev/null 2>&1 && exit 0
done
echo "Installing chromium for the page tests …" >&2
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi; }
{ as_root apt-get update -q && as_root apt-get install -yq --no-install-recommends chromium fonts-dejavu-core; } >/dev/null 2>&1 && exit 0
if [ "${CI:-}" = true ]; then
  echo "No Chromium, and it could not be installed." >&2
  exit 1
fi
echo "No Chromium found: the page tests will be skipped (apt install chromium)." >&2
