"""An installed studio keeps everything below the user's data folder; one in its source folder stays there."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from studio import data_folder
from studio.core.errors import StorageFailed
from studio.data_folder import enter_data_folder, find_data_folder, is_source_folder

ROOT = Path(__file__).parent.parent


@pytest.fixture
def bundled(tmp_path: Path) -> Path:
    folder = tmp_path / "bundled"
    (folder / "embedded" / "unet").mkdir(parents=True)
    (folder / "embedded" / "model_index.json").write_text("{}")
    (folder / "embedded" / "unet" / "weights.safetensors").write_bytes(b"weights")
    return folder


@pytest.fixture(autouse=True)
def _stay_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path.cwd())


def test_the_source_folder_is_its_own_data_folder() -> None:
    assert is_source_folder()
    assert find_data_folder({}) is None


def test_a_folder_can_be_chosen() -> None:
    assert find_data_folder({"EASEL_HOME": "~/pictures of mine"}) == Path.home() / "pictures of mine"


def test_an_installed_studio_uses_the_place_of_the_system(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("studio.data_folder.is_source_folder", lambda: False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    found = find_data_folder({})
    assert found is not None
    assert found.name == "easel"


def test_the_models_that_come_with_it_are_put_there_once(bundled: Path, tmp_path: Path) -> None:
    home = tmp_path / "home" / "easel"
    enter_data_folder(home, bundled)
    assert Path.cwd() == home
    weights = home / "models" / "embedded" / "unet" / "weights.safetensors"
    assert weights.read_bytes() == b"weights"
    weights.write_bytes(b"of the user's own")
    (home / "models" / "embedded" / "model_index.json").unlink()
    enter_data_folder(home, bundled)
    assert weights.read_bytes() == b"of the user's own"
    assert (home / "models" / "embedded" / "model_index.json").is_file()
    assert not list(home.rglob("*.part"))


def test_the_users_own_models_in_a_source_folder_stay_there(bundled: Path, tmp_path: Path) -> None:
    (bundled / "checkpoints").mkdir()
    (bundled / "checkpoints" / "large.safetensors").write_bytes(b"gigabytes")
    enter_data_folder(tmp_path / "home", bundled)
    assert not (tmp_path / "home" / "models" / "checkpoints").exists()


def test_a_chosen_folder_has_the_embedded_model_from_a_source_folder_too(tmp_path: Path) -> None:
    enter_data_folder(tmp_path / "home")
    assert (tmp_path / "home" / "models" / "embedded" / "model_index.json").is_file()
    assert (tmp_path / "home" / "models" / "loras" / "embedded-neon.safetensors").is_file()


def test_a_place_that_cannot_be_written_is_named(bundled: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageFailed, match="data folder"):
        enter_data_folder(tmp_path / "file" / "easel", bundled)


def run_easel(home: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "import sys; from studio.cli import main; sys.exit(main(sys.argv[1:]))", *flags],
        env={**os.environ, "EASEL_HOME": str(home), "PYTHONPATH": str(ROOT)},
        cwd=home.parent,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.slow
def test_a_taken_port_is_reported_before_anything_is_built(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run_easel(home, "--port", str(port))
    assert done.returncode == 2
    assert f"Port {port} on 127.0.0.1 is already in use." in done.stderr
    assert f"http://127.0.0.1:{port}" in done.stderr
    assert f"--port {port + 1}" in done.stderr
    assert home.is_dir()
    assert not (home / "outputs").exists(), "nothing was opened for a studio that cannot start"


def test_paths_among_the_flags_begin_where_the_command_was_typed(tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text('{"port": 70000}')
    done = run_easel(tmp_path / "home", "--config", "mine.json", "--outputs-dir", "pictures", "--port", "99999")
    assert done.returncode == 2
    assert "port" in done.stderr
    assert not (tmp_path / "home" / "mine.json").exists()


def test_the_package_has_its_dependencies_its_command_and_its_models() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["project"]["scripts"] == {"easel": "studio.cli:main"}
    assert project["tool"]["hatch"]["metadata"]["hooks"]["requirements_txt"]["files"] == ["requirements.txt"]
    included = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert {Path(source).relative_to("models").as_posix() for source in included} == set(data_folder._OWN_MODELS)
    for source, target in included.items():
        assert (ROOT / source).exists()
        assert target == f"studio/bundled_models/{Path(source).relative_to('models').as_posix()}"
