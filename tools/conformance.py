"""python -m tools.conformance URL [--token TOKEN]: how much of each API that other programs speak a running studio
answers. Prints a score per API and what failed. It makes small images with the studio's default model, and changes and
restores the caller's options of AUTOMATIC1111's API."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import httpx

from tools.dialect_checks import assistants, automatic1111, comfyui, controlnet, openai_images, short_routes
from tools.dialect_checks.session import CHECKS, DEADLINE, Session, Unexpected

# In the order in which they are carried out; each module has put its checks into CHECKS.
APIS = (
    automatic1111.GROUP,
    controlnet.GROUP,
    openai_images.GROUP,
    assistants.GROUP,
    comfyui.GROUP,
    short_routes.GROUP,
    short_routes.ONE_SEED,
)


def run_checks(session: Session, groups: Sequence[str]) -> dict[str, list[tuple[str, str]]]:
    """By API: each check with what is wrong, "" where it passed."""
    found: dict[str, list[tuple[str, str]]] = {}
    for group in groups:
        for name, function in CHECKS[group]:
            problem = ""
            try:
                function(session)
            except Unexpected as error:
                problem = str(error)
            except (httpx.HTTPError, LookupError, TypeError, ValueError, OSError, AttributeError) as error:
                problem = f"{type(error).__name__}: {error}"
            found.setdefault(group, []).append((name, problem))
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.conformance", description=__doc__)
    parser.add_argument("url", help="address of the studio, such as http://127.0.0.1:7860")
    parser.add_argument("--token", default="", help="a token made on Configurations, where there are users")
    parser.add_argument("--only", choices=APIS, action="append", help="one API")
    given = parser.parse_args(arguments)
    headers = {"Authorization": f"Bearer {given.token}"} if given.token else {}
    url = given.url.rstrip("/")
    with httpx.Client(base_url=url, headers=headers, timeout=DEADLINE) as http:
        found = run_checks(Session(http, url, headers), given.only or APIS)
    for group, results in found.items():
        passed = sum(not problem for _, problem in results)
        print(f"{group}: {passed} of {len(results)}")
        for name, problem in results:
            if problem:
                print(f"  - {name}: {problem[:200]}")
    print(f"All: {sum(not problem for one in found.values() for _, problem in one)} of {sum(map(len, found.values()))}")
    return int(any(problem for results in found.values() for _, problem in results))


if __name__ == "__main__":
    sys.exit(main())
