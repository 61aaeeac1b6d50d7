"""The command line: flags -> settings -> wiring -> serve. `python app.py` in the source folder, `easel` when installed.

easel                      http://127.0.0.1:7860
easel --open               and opens it in the browser
easel --listen             other machines too; asks for users first
easel --add-user NAME      make one
easel --doctor             look at packages, device, disk, network, embedded model
"""

from __future__ import annotations

import argparse
import dataclasses
import io
import os
import sys
import webbrowser
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from studio import __version__
from studio.core.allocator import keep_freed_memory
from studio.core.errors import StudioError
from studio.core.rights import Role
from studio.core.settings import Settings
from studio.core.thread_spinning import limit_spinning
from studio.data_folder import enter_data_folder, find_data_folder
from studio.engine.settings_store import SettingsStore
from studio.space import complete_environment, read_openid_settings


def build_parser() -> argparse.ArgumentParser:
    """One flag per setting, with the setting's own help, beside the few that only make sense here."""
    flags = argparse.ArgumentParser(description="Easel, an image studio.")
    flags.add_argument("--version", action="version", version=f"Easel {__version__}")
    flags.add_argument("--config", type=Path, default=Path("config.json"), help="Settings file.")
    flags.add_argument("--open", action="store_true", help="Open the page in the browser when it is ready.")
    flags.add_argument("--listen", action="store_true", help="Listen on all addresses; the same as --host 0.0.0.0.")
    flags.add_argument("--doctor", action="store_true", help="Check the installation and exit.")
    flags.add_argument("--add-user", metavar="NAME", help="Create a user or change a password, and exit.")
    flags.add_argument(
        "--role", choices=[role.value for role in Role], help="With --add-user: what the user is; a member by default."
    )
    flags.add_argument("--admin", action="store_true", help="The same as --role administrator.")
    for field in dataclasses.fields(Settings):
        name = "--" + field.name.replace("_", "-")
        text = field.metadata["help"].replace("%", "%%")
        if isinstance(field.default, bool):
            flags.add_argument(name, action=argparse.BooleanOptionalAction, default=None, help=text)
        else:
            flags.add_argument(name, default=None, help=text, choices=field.metadata["choices"] or None)
    return flags


def load_settings(options: argparse.Namespace, environment: Mapping[str, str] = os.environ) -> SettingsStore:
    """Defaults, then the file, then the environment, then flags."""
    names = {field.name for field in dataclasses.fields(Settings)}
    flags: dict[str, Any] = {
        name: value for name, value in vars(options).items() if name in names and value is not None
    }
    if options.listen:
        flags.setdefault("host", "0.0.0.0")
    return SettingsStore.load(options.config, environment, flags)


def run_self_check(settings: Settings) -> int:
    """Print the self-check; 0 when all is well."""
    from studio import doctor

    checks = doctor.run_checks(settings)
    for check in checks:
        print(f"{'ok ' if check.ok else 'NOT'}  {check.name}: {check.text}" + ("" if check.ok else f"  → {check.hint}"))
    return 0 if all(check.ok for check in checks) else 1


def main(arguments: Sequence[str] | None = None) -> int:
    if isinstance(sys.stdout, io.TextIOWrapper):  # a pipe on Windows takes the characters of one code page only
        sys.stdout.reconfigure(errors="replace")
    options = build_parser().parse_args(arguments)
    limit_spinning()
    try:
        environment = complete_environment(os.environ)
        folder = find_data_folder(environment)
        if folder is not None:
            _make_paths_absolute(options)
            enter_data_folder(folder)
        store = load_settings(options, environment)
        if options.doctor:
            return run_self_check(store.current)
        if options.add_user:
            from studio.serving.users import add_user

            role = Role.ADMINISTRATOR.value if options.admin else options.role
            add_user(store.current, options.add_user, Role(role) if role else None)
            return 0
        if store.current.auth_file is not None:
            from studio.serving.users import add_first_user

            add_first_user(store.current, os.environ)
        if store.current.keep_memory:
            keep_freed_memory()
        from studio.serve import check_port, run_studio
        from studio.wiring import build_studio

        check_port(store.current)
        return run_studio(
            build_studio(store),
            on_ready=_open_in_browser if options.open else None,
            openid=read_openid_settings(environment),
        )
    except StudioError as error:
        print(f"{error.message} {error.hint}", file=sys.stderr)
        return 2


def _make_paths_absolute(options: argparse.Namespace) -> None:
    """Let paths among the flags mean what they mean where the command was typed."""
    paths = {"config"} if options.config.exists() else set[str]()
    for field in dataclasses.fields(Settings):
        if "Path" in str(field.type) and getattr(options, field.name):
            paths.add(field.name)
    for name in paths:
        setattr(options, name, Path(getattr(options, name)).absolute())


def _open_in_browser(address: str) -> None:
    if address.startswith("http"):
        webbrowser.open(address)
