#!/bin/sh
# Sets Easel up and starts it on macOS: double-click, or ./run.command --port 8000 and so on.
cd "$(dirname "$0")" && exec python3 run.py --open "$@"
