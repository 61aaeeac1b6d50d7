"""What an operator may ask of a running studio: numbers for Prometheus, and whether it is alive and ready."""

from __future__ import annotations

import json
import logging
import re
import sys
import types
from pathlib import Path

import httpx
import pytest
from fakes import FakeBackend
from prometheus_client.parser import text_string_to_metric_families
from serving import PASSWORDS, RunningStudio, serve_studio, wait_until

from studio.core.errors import OutOfMemory
from studio.engine.logs import Logs

API = "/api/image-studio"
ROOT = Path(__file__).parent.parent
SECRET_PROMPT = "a canary in a coal mine"


def read_metrics(client: httpx.Client) -> dict[tuple[str, tuple[str, ...]], float]:
    """Each value by its name and the values of its labels, in the order of their names."""
    answer = client.get("/metrics")
    assert answer.status_code == 200, answer.text
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def create(client: httpx.Client, *, wait: bool = True) -> dict[str, object]:
    answer = client.post(f"{API}/create", params={"wait": wait}, json={"prompt": SECRET_PROMPT})
    return answer.json()


def test_jobs_images_phases_and_errors_are_counted(tmp_path: Path) -> None:
    backend = FakeBackend()
    with serve_studio(tmp_path, backend=backend, metrics=True) as served:
        client = served.open_client()
        for _ in range(2):
            create(client)
        backend.fail = lambda request, step: OutOfMemory("Out of memory.")
        create(client)
        found = read_metrics(client)
    assert found["easel_jobs_submitted_total", ("gpu",)] == 3
    assert found["easel_jobs_ended_total", ("gpu", "finished")] == 2
    assert found["easel_jobs_ended_total", ("gpu", "failed")] == 1
    assert found["easel_job_errors_total", (OutOfMemory.code, "gpu")] == 1
    assert found["easel_images_total", ("gpu",)] == 2
    assert found["easel_job_wait_seconds_count", ("gpu",)] == 3
    assert found["easel_job_run_seconds_count", ("gpu",)] == 3
    assert found["easel_jobs", ("gpu", "waiting")] == 0


def test_the_queue_is_shown_as_it_stands(tmp_path: Path) -> None:
    backend = FakeBackend(held=True)
    with serve_studio(tmp_path, backend=backend, metrics=True) as served:
        client = served.open_client()
        jobs = [create(client, wait=False)["jobId"] for _ in range(3)]
        assert backend.entered.acquire(timeout=20)
        found = read_metrics(client)
        assert (found["easel_jobs", ("gpu", "running")], found["easel_jobs", ("gpu", "waiting")]) == (1, 2)
        client.delete(f"{API}/jobs/{jobs[2]}")
        found = read_metrics(client)
        assert found["easel_jobs", ("gpu", "waiting")] == 1
        assert found["easel_jobs_ended_total", ("gpu", "cancelled")] == 1


def test_time_in_phases_and_money_are_shown(tmp_path: Path) -> None:
    with serve_studio(tmp_path, metrics=True) as served:
        engine = served.studio.engine
        engine.metrics.record_work("gpu", 2, {"denoise": 0.3, "decode": 0.02})
        with engine.ledger.record_purchase(("job", "ann"), ("openai", "openai/a"), 1, 0.04) as bought:
            bought.cost = 0.05
        with engine.ledger.record_purchase(("job", "bob"), ("openai", "openai/a"), 1, 0.04):
            pass
        found = read_metrics(served.open_client())
    assert found["easel_phase_seconds_sum", ("gpu", "denoise")] == pytest.approx(0.3)
    assert found["easel_spent_dollars_total", ("openai",)] == pytest.approx(0.09)


def test_metrics_have_no_prompts_and_no_names(tmp_path: Path) -> None:
    with serve_studio(tmp_path, users=True, metrics=True) as served:
        create(served.open_client("ann"))
        text = served.open_client(auth=("root", PASSWORDS["root"])).get("/metrics").text
    assert "easel_images_total" in text
    for word in (SECRET_PROMPT, "canary", "ann", "fake"):
        assert not re.search(rf"\b{word}\b", text), word


def test_metrics_are_off_until_they_are_switched_on(tmp_path: Path) -> None:
    with serve_studio(tmp_path) as served:
        assert served.open_client().get("/metrics").status_code == 404


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory):
    with serve_studio(tmp_path_factory.mktemp("closed"), users=True, metrics=True) as served:
        yield served


def test_with_users_metrics_are_for_administrators(closed: RunningStudio) -> None:
    assert closed.open_client().get("/metrics").status_code == 401
    assert closed.open_client("bob").get("/metrics").status_code == 403
    assert closed.open_client("root").get("/metrics").status_code == 200
    with httpx.Client(base_url=closed.url) as client:
        assert client.get("/metrics", auth=("root", PASSWORDS["root"])).status_code == 200
        assert client.get("/metrics", auth=("bob", PASSWORDS["bob"])).status_code == 403
        assert client.get("/metrics", auth=("root", "wrong")).status_code == 401


@pytest.mark.parametrize("path", ["/metrics/", "//metrics", "/metrics/../metrics", "/Metrics", "/%6detrics"])
def test_no_spelling_of_the_path_goes_around_the_login(closed: RunningStudio, path: str) -> None:
    for client in (closed.open_client(), closed.open_client("bob")):
        assert "easel_" not in client.get(path).text


def test_liveness_and_readiness_are_open_and_say_nothing_else(closed: RunningStudio) -> None:
    client = closed.open_client()
    assert client.get(f"{API}/health/live").json() == {"status": "alive"}
    assert client.get(f"{API}/health/ready").json() == {"status": "ready"}
    assert client.get(f"{API}/health/other").status_code in (401, 404)


def test_a_studio_that_ends_is_alive_and_not_ready(tmp_path: Path) -> None:
    with serve_studio(tmp_path) as served:
        client = served.open_client()
        assert served.studio.engine.is_ready
        served.studio.engine.close(drain=0)
        assert client.get(f"{API}/health/live").status_code == 200
        answer = client.get(f"{API}/health/ready")
        assert (answer.status_code, answer.json()) == (503, {"status": "not ready"})


def test_a_studio_that_has_not_started_or_cannot_read_its_library_is_not_ready(tmp_path: Path) -> None:
    from serving import make_studio

    engine = make_studio(tmp_path, FakeBackend()).engine
    assert not engine.is_ready
    engine.start()
    assert engine.is_ready
    with engine._database._lock:  # the upkeep may be reading, and SQLite crashes where a statement still runs
        engine._database._connection.close()
    assert not engine.is_ready


def test_logs_can_be_json_for_programs(tmp_path: Path) -> None:
    with serve_studio(tmp_path, log_format="json") as served:
        served.open_client().get(f"{API}/health")
        logging.getLogger("studio.test").warning("two\nlines %s", "and sk-proj-AbCdEf0123456789AbCdEf")
        try:
            raise ValueError("inside")
        except ValueError:
            logging.getLogger("studio.test").exception("a defect")
        wait_until(lambda: "health" in (tmp_path / "logs" / "access.log").read_text())
    calls = [json.loads(line) for line in (tmp_path / "logs" / "access.log").read_text().splitlines()]
    [call] = [call for call in calls if call["path"] == f"{API}/health"]
    assert (call["method"], call["status"], call["client"]) == ("GET", 200, "127.0.0.1")
    lines = [json.loads(line) for line in (tmp_path / "logs" / "studio.log").read_text().splitlines()]
    warning, defect = [line for line in lines if line["logger"] == "studio.test"]
    assert warning["level"] == "warning"
    assert warning["message"].startswith("two\nlines and ")
    assert "AbCdEf0123456789" not in warning["message"]
    assert "ValueError: inside" in defect["exception"]


def test_the_application_log_can_go_to_the_console(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    logs = Logs(tmp_path, form="json", console=True)
    logging.getLogger("studio.test").warning("for the container")
    logs.close()
    logging.getLogger("studio.test").warning("after the end")
    written = capsys.readouterr().err
    assert json.loads(written)["message"] == "for the container"


def test_the_dashboard_asks_for_metrics_that_there_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", sys.modules.get("torch", types.ModuleType("torch")))
    dashboard = (ROOT / "deploy" / "grafana-dashboard.json").read_text(encoding="utf-8")
    asked = set(re.findall(r"\beasel_[a-z_]+", dashboard))
    backend = FakeBackend()
    with serve_studio(tmp_path, backend=backend, metrics=True) as served:
        client = served.open_client()
        create(client)
        backend.fail = lambda request, step: OutOfMemory("Out of memory.")
        create(client)
        served.studio.engine.metrics.record_work("gpu", 0, {"denoise": 1.0})
        text = client.get("/metrics").text
        found = {name for name, _ in read_metrics(client)} | set(re.findall(r"# TYPE (\w+)", text))
    assert len(asked) > 10
    assert asked - found == set()
    assert json.loads(dashboard)["panels"]
