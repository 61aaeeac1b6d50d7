"""Run the studio as it runs in a Hugging Face Space: python -m tools.space_demo [PORT], or make space-demo.

The platform's variables are set, the program's folder is read-only where the system can do that, there is no disk that
outlives the process, and nobody has an account. What is not there: the platform's proxy, its page around ours, and its
login, whose client does not exist.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tools.space import write_space

VARIABLES = {
    "SPACE_ID": "owner/easel",
    "SPACE_HOST": "owner-easel.hf.space",
    "SPACE_CREATOR_USER_ID": "5f0c0f9b2d5c",
    "OAUTH_CLIENT_ID": "the client",
    "OAUTH_CLIENT_SECRET": "the secret",
    "OPENID_PROVIDER_URL": "https://huggingface.co",
}
# What the platform's proxy adds to the request of a visitor, whose address is one of those for examples.
VISIT = {"Host": VARIABLES["SPACE_HOST"], "X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.7"}


def can_mount() -> bool:
    """Whether a folder can be made read-only for one process."""
    found = shutil.which("unshare")
    return found is not None and subprocess.run([found, "-m", "true"], check=False).returncode == 0


def build_command(folder: Path) -> list[str]:
    """What starts the program in `folder`."""
    command = [sys.executable, "app.py"]
    if not can_mount():
        return command
    mount = f"mount --bind '{folder}' '{folder}' && mount -o remount,ro,bind '{folder}'"
    return ["unshare", "-m", "sh", "-c", f"{mount} && cd '{folder}' && exec \"$@\"", "sh", *command]


def build_environment(inherited: Mapping[str, str], port: int, home: Path) -> dict[str, str]:
    """The platform's variables over `inherited`; what may be written lies in `home`."""
    kept = {name: value for name, value in inherited.items() if not name.startswith(("STUDIO_", "EASEL_"))}
    return {**kept, **VARIABLES, "STUDIO_PORT": str(port), "HOME": str(home), "TMPDIR": str(home)}


def main() -> int:
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 7860
    with tempfile.TemporaryDirectory(prefix="easel-space-") as name:
        folder, home = Path(name) / "space", Path(name) / "home"
        home.mkdir()
        write_space(folder)
        print(f"Open http://127.0.0.1:{port} once it is ready; Ctrl+C ends it.")
        try:
            return subprocess.call(build_command(folder), cwd=folder, env=build_environment(os.environ, port, home))
        except KeyboardInterrupt:
            return 0


if __name__ == "__main__":
    sys.exit(main())
