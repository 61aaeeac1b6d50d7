"""Start Easel from its source folder. `python app.py --help` lists the flags; studio/cli.py reads them."""

from __future__ import annotations

import sys

from studio.cli import main

if __name__ == "__main__":
    sys.exit(main())
