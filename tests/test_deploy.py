"""The files for containers, systemd and Kubernetes name what there is: settings, routes, paths, and time to end."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from serving import make_studio, mount_small_page

from studio.core.errors import InvalidRequest, NotConfigured
from studio.core.rights import Role
from studio.core.settings import Settings
from studio.serve import EXIT_SECONDS, build_app
from studio.serving.users import Users, add_first_user

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
FILES = ("Dockerfile", "deploy/compose.yaml", "deploy/easel.service", "deploy/kubernetes.yaml")
OWN_VARIABLES = {"EASEL_HOME", "EASEL_ADMIN", "EASEL_ADMIN_PASSWORD_FILE", "EASEL_DOMAIN"}


def read_yaml(name: str) -> list[Any]:
    return list(yaml.safe_load_all((DEPLOY / name).read_text(encoding="utf-8")))


@pytest.mark.parametrize("name", FILES)
def test_every_setting_that_a_file_names_exists(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    known = {f"STUDIO_{field.name.upper()}" for field in dataclasses.fields(Settings)}
    assert set(re.findall(r"\bSTUDIO_[A-Z_]+", text)) <= known
    assert set(re.findall(r"\bEASEL_[A-Z_]+", text)) <= OWN_VARIABLES


@pytest.fixture(scope="module")
def routes(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    studio = make_studio(tmp_path_factory.mktemp("routes"), [])
    return set(build_app(studio, lambda parent: mount_small_page(parent, studio), None).openapi()["paths"])


@pytest.mark.parametrize("name", ["Dockerfile", "deploy/kubernetes.yaml", "deploy/Caddyfile", "docs/hosting.md"])
def test_every_probe_asks_a_route_that_there_is(name: str, routes: set[str]) -> None:
    asked = set(re.findall(r"/api/image-studio/health(?:/[a-z]+)?", (ROOT / name).read_text(encoding="utf-8")))
    assert asked
    assert asked <= routes


def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    program = shutil.which("hadolint", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if program is None:
        pytest.skip("hadolint is not there")
    found = subprocess.run([program, ROOT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout) == (0, "")


def test_kubernetes_knows_every_field_of_its_objects() -> None:
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    for document in read_yaml("kubernetes.yaml"):
        kubernetes_validate.validate(document, "1.33", strict=True)


def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd is not there")
    unit = tmp_path / "easel.service"
    text = (DEPLOY / "easel.service").read_text(encoding="utf-8")
    unit.write_text(text.replace("/opt/easel/bin/easel\n", f"{sys.executable}\n"))
    found = subprocess.run([program, "verify", unit], capture_output=True, text=True, check=False)
    assert (found.returncode, found.stderr) == (0, "")


def test_everybody_waits_until_the_studio_has_ended() -> None:
    [compose], documents = read_yaml("compose.yaml"), read_yaml("kubernetes.yaml")
    pod = next(one for one in documents if one["kind"] == "Deployment")["spec"]["template"]["spec"]
    unit = (DEPLOY / "easel.service").read_text(encoding="utf-8")
    waits = [
        float(compose["services"]["easel"]["stop_grace_period"].rstrip("s")),
        pod["terminationGracePeriodSeconds"],
        float(re.findall(r"TimeoutStopSec=(\d+)", unit)[0]),
    ]
    assert min(waits) > EXIT_SECONDS


def test_containers_have_no_more_rights_than_they_need() -> None:
    [compose], documents = read_yaml("compose.yaml"), read_yaml("kubernetes.yaml")
    for name in ("easel", "easel-nvidia"):
        service = compose["services"][name]
        assert (service["read_only"], service["cap_drop"], service.get("ports")) == (True, ["ALL"], None)
    pod = next(one for one in documents if one["kind"] == "Deployment")["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["containers"][0]["securityContext"]["readOnlyRootFilesystem"]
    assert re.search(r"^USER 1000", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)


def test_what_the_image_is_built_from_is_sent_to_the_builder() -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    kept = {line[1:] for line in ignored if line.startswith("!")}
    assert ignored[0] == "*"
    for line in re.findall(r"^COPY (?!--from)(.+)$", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE):
        for source in line.split()[:-1]:
            assert (ROOT / source).exists()
            assert any(path == source or path.startswith(f"{source}/") for path in kept), source


def test_the_first_user_comes_from_the_environment_once(tmp_path: Path) -> None:
    settings = Settings(auth_file=tmp_path / "data" / "users.json")
    secret = tmp_path / "secret"
    secret.write_text("a long password\n")
    environment = {"EASEL_ADMIN": "root", "EASEL_ADMIN_PASSWORD_FILE": str(secret)}
    assert add_first_user(settings, environment)
    assert settings.auth_file is not None
    users = Users(settings.auth_file)
    found = users.verify_password("root", "a long password")
    assert found is not None
    assert found.role is Role.ADMINISTRATOR
    assert not add_first_user(settings, {**environment, "EASEL_ADMIN": "another"})
    assert users.get("another") is None
    if os.name == "posix":
        assert settings.auth_file.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("environment", "error"),
    [
        ({"EASEL_ADMIN": "root"}, NotConfigured),
        ({"EASEL_ADMIN": "root", "EASEL_ADMIN_PASSWORD_FILE": "/nowhere/at/all"}, NotConfigured),
        ({"EASEL_ADMIN": "root", "EASEL_ADMIN_PASSWORD": "short"}, InvalidRequest),
        ({"EASEL_ADMIN": "../root", "EASEL_ADMIN_PASSWORD": "a long password"}, InvalidRequest),
    ],
)
def test_a_first_user_without_a_password_that_will_do_is_refused(
    tmp_path: Path, environment: dict[str, str], error: type[Exception]
) -> None:
    settings = Settings(auth_file=tmp_path / "users.json")
    with pytest.raises(error):
        add_first_user(settings, environment)
    assert not (tmp_path / "users.json").exists()


def test_without_a_name_or_a_users_file_nobody_is_made(tmp_path: Path) -> None:
    assert not add_first_user(Settings(auth_file=tmp_path / "users.json"), {})
    assert not add_first_user(Settings(), {"EASEL_ADMIN": "root", "EASEL_ADMIN_PASSWORD": "a long password"})
