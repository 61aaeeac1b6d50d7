from __future__ import annotations

import hashlib
import importlib.metadata
from pathlib import Path

import pytest

from studio import doctor
from studio.core.self_check import Check
from studio.core.settings import Settings


def checks(settings: Settings) -> dict[str, Check]:
    return {check.name: check for check in doctor.run_checks(settings)}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(models_dir=tmp_path / "models", outputs_dir=tmp_path / "outputs", offline=True)


@pytest.mark.torch
def test_every_failed_check_says_what_to_do(settings: Settings) -> None:
    found = checks(settings)
    assert found["Python"].ok
    assert found["Outputs folder"].ok
    assert not found["Embedded model"].ok
    assert all(check.hint for check in found.values() if not check.ok)


@pytest.mark.torch
def test_a_changed_weight_file_is_named(settings: Settings) -> None:
    folder = settings.models_dir / "embedded"
    folder.mkdir(parents=True)
    (folder / "a").write_bytes(b"right")
    (folder / "SHA256SUMS").write_text(hashlib.sha256(b"right").hexdigest() + "  a\n")
    assert checks(settings)["Embedded model"].ok
    (folder / "a").write_bytes(b"wrong")
    assert "a" in checks(settings)["Embedded model"].text


@pytest.mark.torch
@pytest.mark.parametrize("content", [b"", b"\n", b"a\n", b"\xff\xfe\x00", b"no digest  a\n"])
def test_a_damaged_list_of_digests_is_a_fault(settings: Settings, content: bytes) -> None:
    folder = settings.models_dir / "embedded"
    folder.mkdir(parents=True)
    (folder / "a").write_bytes(b"right")
    (folder / "SHA256SUMS").write_bytes(content)
    check = checks(settings)["Embedded model"]
    assert (check.ok, "SHA256SUMS is damaged" in check.text) == (False, True)


@pytest.mark.torch
def test_an_unreachable_hub_is_told_and_harmless(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    hub = checks(settings.replace(offline=False))["Model hub"]
    assert (hub.ok, "127.0.0.1" in hub.text) == (False, True)


def test_signing_without_its_package_is_a_fault_only_where_it_is_wanted(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    (ready,) = doctor._check_signing(settings.replace(sign="on"))
    assert (ready.ok, ready.text.startswith("on, c2pa-python 0.")) == (True, True)

    def find_nothing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(doctor.importlib.metadata, "version", find_nothing)
    for sign, ok in (("on", False), ("off", True)):
        (missing,) = doctor._check_signing(settings.replace(sign=sign))
        assert (missing.ok, bool(missing.hint)) == (ok, True)


def test_versions_compare_by_number() -> None:
    assert doctor._parse_version("2.15.0+cu132") > doctor._parse_version("2.9")
