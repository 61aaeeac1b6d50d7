"""Money: what is expected, what was billed, what may not be spent, and that nothing is paid for twice."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import keyring
import pytest
from fakes import FAKE_MODEL, FakeBackend, open_engine, wait_until_final
from keyring.backend import KeyringBackend
from keyring.backends import fail
from keyring.errors import KeyringLocked

from studio.core.errors import MAY_BE_BILLED, BudgetExceeded, ContentRefused, NotConfigured, UnknownModel, Unreachable
from studio.core.events import Status
from studio.core.model import Quality
from studio.core.ports import ImageSeed, JobContext
from studio.core.pricing import Estimate, ImageSizes
from studio.core.request import GenerationRequest
from studio.core.request_choices import PromptOrder
from studio.core.result import RenderedImage
from studio.core.settings import Settings
from studio.core.user import LOCAL_USER
from studio.engine.engine import Engine
from studio.engine.lookups import Lookups, Successor
from studio.engine.money.keys import KeyStore
from studio.engine.money.ledger import Ledger
from studio.engine.money.system_keyring import SystemKeyring
from studio.engine.settings_store import SettingsStore
from studio.library.database import Database

CLOUD = dataclasses.replace(FAKE_MODEL, id="cloud", title="Cloud", lane="service", paid=True, quality=Quality.HIGH)
OTHER = dataclasses.replace(CLOUD, id="other", title="Other", lane="elsewhere", quality=Quality.HIGH)


class Shop(FakeBackend):
    """A fake cloud service: ten cents an image, billed as eleven."""

    price = 0.10

    def estimate(self, request: GenerationRequest, sizes: ImageSizes) -> Estimate | None:
        return Estimate(amount=self.price * request.count)

    def render(self, request: GenerationRequest, seeds: Sequence[ImageSeed], ctx: JobContext) -> list[RenderedImage]:
        return [dataclasses.replace(one, cost=0.11) for one in super().render(request, seeds, ctx)]


@pytest.fixture
def shop() -> Shop:
    return Shop(CLOUD)


@pytest.fixture
def engine(tmp_path: Path, shop: Shop) -> Iterator[Engine]:
    engine = open_engine(tmp_path, FakeBackend(), shop, Dear(OTHER), budget_day=1.0)
    yield engine
    engine.close()


class Dear(Shop):
    price = 0.20


def test_a_dynamic_prompt_is_priced_and_refused_before_it_is_drawn(engine: Engine, shop: Shop) -> None:
    many = GenerationRequest(model="cloud", prompt="a {red|green|blue} {cat|dog}", count=6)
    assert engine.estimate(many) == pytest.approx(0.60)
    with pytest.raises(BudgetExceeded):
        engine.submit(many.replace(count=11), LOCAL_USER)
    assert (shop.seen, engine.ledger.lines("local")) == ([], [])
    job = engine.submit(many.replace(prompt_order=PromptOrder.COMBINATIONS), LOCAL_USER)
    snapshot = wait_until_final(job)
    assert len({asset.request.prompt for asset in snapshot.assets}) == 6
    assert engine.ledger.lines("local")[0].estimated == pytest.approx(0.60)


def test_what_was_billed_stands_in_the_ledger(engine: Engine) -> None:
    request = GenerationRequest(model="cloud", count=3)
    assert engine.estimate(request) == pytest.approx(0.30)
    assert engine.estimate(GenerationRequest(model="fake", count=3)) == 0
    assert wait_until_final(engine.submit(request, LOCAL_USER)).status is Status.FINISHED
    [line] = engine.ledger.lines("local")
    assert (line.provider, line.images) == ("service", 3)
    assert (line.estimated, line.billed) == (pytest.approx(0.30), pytest.approx(0.33))
    assert engine.ledger.lines("ann") == []
    wait_until_final(engine.submit(GenerationRequest(model="fake"), LOCAL_USER))
    assert len(engine.ledger.lines(None)) == 1


def test_a_budget_warns_and_then_refuses_before_anything_is_sent(engine: Engine, shop: Shop) -> None:
    warned = wait_until_final(engine.submit(GenerationRequest(model="cloud", count=9), LOCAL_USER))
    assert any("day's budget" in notice for notice in warned.notices)
    sent = len(shop.seen)
    with pytest.raises(BudgetExceeded) as refused:
        engine.submit(GenerationRequest(model="cloud"), LOCAL_USER)
    assert refused.value.details["budget"] == 1.0
    assert len(shop.seen) == sent
    assert wait_until_final(engine.submit(GenerationRequest(model="fake"), LOCAL_USER)).status is Status.FINISHED


def test_waiting_jobs_count_and_what_they_do_not_spend_is_free_again(tmp_path: Path) -> None:
    database = Database(tmp_path / "library.db")
    ledger, settings = Ledger(database), Settings(budget_month=1.0)
    assert ledger.reserve("a", "ann", 0.6, settings) == ""
    with pytest.raises(BudgetExceeded):
        ledger.reserve("b", "ann", 0.6, settings)
    assert ledger.reserve("c", "bob", 0.6, settings) == ""
    ledger.release("a")
    assert ledger.reserve("b", "ann", 0.6, settings) == ""
    database.close()


@pytest.mark.parametrize(
    ("error", "billed"),
    [
        (Unreachable("no answer", hint="x"), 0.0),
        (ContentRefused("no", hint="x"), 0.0),
        (Unreachable("no answer", hint="x", details={MAY_BE_BILLED: True}), 0.1),
    ],
)
def test_an_error_costs_only_when_it_may_have_been_billed(
    engine: Engine, shop: Shop, error: Exception, billed: float
) -> None:
    shop.fail = lambda request, step: error
    assert wait_until_final(engine.submit(GenerationRequest(model="cloud"), LOCAL_USER)).status is Status.FAILED
    assert sum(line.billed for line in engine.ledger.lines("local")) == pytest.approx(billed)


def test_the_next_of_the_chain_is_tried_when_one_cannot_be_reached(engine: Engine, shop: Shop) -> None:
    shop.fail = lambda request, step: Unreachable("no answer", hint="x")
    job = engine.submit(GenerationRequest(model="cloud", fallbacks=("other", "fake")), LOCAL_USER)
    last = wait_until_final(job)
    assert last.status is Status.FINISHED
    assert last.assets[0].request.model == "other"
    assert any("Other instead of cloud" in note for note in last.assets[0].notes)


@pytest.mark.parametrize(
    "error",
    [ContentRefused("no", hint="x"), Unreachable("no answer", hint="x", details={MAY_BE_BILLED: True})],
)
def test_nothing_else_is_tried_after_a_refusal_or_after_money(engine: Engine, shop: Shop, error: Exception) -> None:
    shop.fail = lambda request, step: error
    last = wait_until_final(engine.submit(GenerationRequest(model="cloud", fallbacks=("other",)), LOCAL_USER))
    assert last.status is Status.FAILED
    assert last.assets == ()


def test_auto_takes_the_cheapest_of_the_quality_and_the_rest_as_fallbacks(engine: Engine) -> None:
    job = engine.submit(GenerationRequest(model="auto:high"), LOCAL_USER)
    assert (job.request.model, job.request.fallbacks[0]) == ("cloud", "other")
    wait_until_final(job)
    assert engine.estimate(GenerationRequest(model="auto:high")) == pytest.approx(0.1)
    assert engine.submit(GenerationRequest(model="auto:standard"), LOCAL_USER).request.model == "fake"
    with pytest.raises(UnknownModel):
        engine.submit(GenerationRequest(model="auto:best", width=8, height=4096), LOCAL_USER)


def test_what_may_have_been_billed_before_a_crash_is_not_sent_again(tmp_path: Path) -> None:
    shop = Shop(CLOUD, held=True)
    first = open_engine(tmp_path, shop)
    job = first.submit(GenerationRequest(model="cloud", count=2), LOCAL_USER)
    assert shop.entered.acquire(timeout=20)
    line = first.ledger.count_paid_images(job.id)
    assert line == 1  # on disk before it is sent
    first._owner.release()  # as if the process had died here
    first._owner._handle = os.open(os.devnull, os.O_RDONLY)  # for it to close in the end
    second_shop = Shop(CLOUD)
    second = open_engine(tmp_path, second_shop)
    last = wait_until_final(second.job(job.id, LOCAL_USER))
    assert last.status is Status.FAILED
    assert last.error is not None
    assert "may have been billed" in last.error.message
    assert second_shop.seen == []
    second.close()
    shop.release(100)
    first.close()


SENTINEL = "sk-sentinel-0123456789abcdefghij"


def test_keys_are_kept_private_and_told_only_by_their_end(tmp_path: Path) -> None:
    keys = KeyStore(tmp_path / "private" / "keys.json", {"STABILITY_API_KEY": "env-key-0123456789-wxyz"})
    with pytest.raises(NotConfigured, match="OPENAI_API_KEY is not set"):
        keys.get("OPENAI_API_KEY")
    keys.set("OPENAI_API_KEY", f"  {SENTINEL}\n")
    assert keys.get("OPENAI_API_KEY") == SENTINEL
    assert (tmp_path / "private" / "keys.json").stat().st_mode & 0o777 == 0o600
    state = keys.get_state("OPENAI_API_KEY")
    assert (state.where, state.ends) == ("file", "ghij")
    assert SENTINEL not in f"{keys!r} {state!r} {vars(keys)}"
    assert (keys.get_state("STABILITY_API_KEY").where, keys.get("STABILITY_API_KEY")) == (
        "environment",
        "env-key-0123456789-wxyz",
    )
    assert KeyStore(tmp_path / "private" / "keys.json", {}).get("OPENAI_API_KEY") == SENTINEL
    keys.remove("OPENAI_API_KEY")
    assert keys.get_state("OPENAI_API_KEY").where == ""


class Ring(KeyringBackend):
    """A keyring that opens, or does not."""

    priority = 9  # pyright: ignore[reportAssignmentType] - theirs is a property of the class

    def __init__(self, *, locked: bool = False) -> None:
        super().__init__()
        self.kept: dict[tuple[str, str], str] = {}
        self.locked = locked

    def get_password(self, service: str, username: str) -> str | None:
        self._open()
        return self.kept.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self._open()
        self.kept[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        self._open()
        del self.kept[service, username]

    def _open(self) -> None:
        if self.locked:
            raise KeyringLocked("sentinel of the keyring")


@pytest.fixture
def ring() -> Iterator[Ring]:
    before, ring = keyring.get_keyring(), Ring()
    keyring.set_keyring(ring)
    yield ring
    keyring.set_keyring(before)


def test_a_system_keyring_takes_the_keys_and_the_file_only_their_names(tmp_path: Path, ring: Ring) -> None:
    file = tmp_path / "keys.json"
    keys = KeyStore(file, {}, SystemKeyring())
    keys.set("OPENAI_API_KEY", SENTINEL)
    assert ring.kept == {("Easel", "OPENAI_API_KEY"): SENTINEL}
    assert SENTINEL not in file.read_text()
    assert (keys.get("OPENAI_API_KEY"), keys.list_secrets(["OPENAI_API_KEY"])) == (SENTINEL, (SENTINEL,))
    assert (keys.get_state("OPENAI_API_KEY").where, keys.get_state("OPENAI_API_KEY").ends) == ("keyring", "ghij")
    assert KeyStore(file, {}).get_state("OPENAI_API_KEY").where == "", "a studio without a keyring has no key"
    ring.locked = True
    assert not keys.is_set("OPENAI_API_KEY")
    ring.locked = False
    keys.remove("OPENAI_API_KEY")
    assert (ring.kept, keys.get_state("OPENAI_API_KEY").where) == ({}, "")


def test_a_locked_or_missing_keyring_leaves_the_key_to_the_private_file(
    tmp_path: Path, ring: Ring, caplog: pytest.LogCaptureFixture
) -> None:
    ring.locked = True
    keys = KeyStore(tmp_path / "keys.json", {}, SystemKeyring())
    keys.set("A", SENTINEL)
    assert (keys.get("A"), keys.get_state("A").where) == (SENTINEL, "file")
    assert "KeyringLocked" in caplog.text
    assert SENTINEL not in caplog.text
    keyring.set_keyring(fail.Keyring())
    keys.set("B", SENTINEL)
    assert keys.get_state("B").where == "file"


def test_a_file_of_keys_that_others_could_read_is_made_private(tmp_path: Path) -> None:
    keys = KeyStore(tmp_path / "keys.json", {})
    keys.set("A", "value-of-a")
    (tmp_path / "keys.json").chmod(0o644)
    assert keys.get("A") == "value-of-a"
    assert (tmp_path / "keys.json").stat().st_mode & 0o777 == 0o600
    (tmp_path / "keys.json").write_text("this is no JSON")
    assert not keys.is_set("A")


def test_a_model_that_has_ended_gives_way_to_its_successor_and_says_so(tmp_path: Path) -> None:
    def heir(name: str) -> Successor | None:
        return Successor("cloud", f"“{name}” ended; cloud takes its place.") if name == "dall-e-3" else None

    settings = Settings(outputs_dir=tmp_path, logs_dir=tmp_path / "logs", default_model="fake")
    engine = Engine(
        settings=SettingsStore(settings),
        backends=[FakeBackend(), Shop(CLOUD)],
        database=Database(tmp_path / "library.db"),
        lookups=Lookups(find_successor=heir),
    )
    engine.start()
    last = wait_until_final(engine.submit(GenerationRequest(model="dall-e-3"), LOCAL_USER))
    assert last.assets[0].request.model == "cloud"
    assert any("ended" in note for note in last.assets[0].notes)
    assert engine.estimate(GenerationRequest(model="dall-e-3")) == pytest.approx(0.1)
    with pytest.raises(UnknownModel):
        engine.submit(GenerationRequest(model="dall-e-9"), LOCAL_USER)
    engine.close()
