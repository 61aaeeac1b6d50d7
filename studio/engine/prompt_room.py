"""Asking a language model for prompts: at most two calls at once, a line in the ledger before a call that may cost, and
nothing of the studio but the texts in it."""

from __future__ import annotations

import dataclasses
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

from studio.core.chat import TokenUse, estimate_use, read_token_price
from studio.core.errors import (
    BudgetExceeded,
    JobCancelled,
    LlmTimeout,
    NotConfigured,
    ProviderError,
    RateLimited,
    Unreachable,
)
from studio.core.model import Look
from studio.core.ports import Chat
from studio.core.prompts import Brief, Classification, ParsedPrompt, Persona, PromptIdeas
from studio.core.rights import Right
from studio.core.settings import Settings
from studio.core.user import User
from studio.engine.describe_image import ImageDescription, build_vision_messages
from studio.engine.money.ledger import Ledger
from studio.prompting.answer import read_prompts, read_rewrite
from studio.prompting.culture.classify import classify_brief, correct_classification
from studio.prompting.culture.traits import MOST as MOST_TRAITS
from studio.prompting.culture.traits import find_added_traits
from studio.prompting.dialects import Dialect
from studio.prompting.dynamic_tree import escape_text
from studio.prompting.ideas import IDEAS_SCHEMA, build_idea_messages, write_prompts
from studio.prompting.personas import apply_persona
from studio.prompting.protect import protect_parts, restore_parts
from studio.prompting.rewrite_messages import REWRITE_SCHEMA, build_rewrite_messages
from studio.prompting.wildcards import WordLists

MAX_CALLS = 2  # at once, of all users
_ROOM_SECONDS = 20.0  # that a call waits for another one to end
_POLL_SECONDS = 0.05
CHAT_PROVIDER = "chat"  # in the ledger
BY_RULES = "rules"  # the source of prompts that no language model wrote


@dataclass(frozen=True)
class TextPiece:
    """A piece of an answer as it comes; "" while nothing new has come."""

    text: str


@dataclass(frozen=True)
class RewrittenPrompt:
    """The end of a rewrite; `notes` say what to check in it."""

    prompt: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class BriefRequest:
    """A brief with what it is written for: the dialect and look of the model, whether negative prompts count, the
    user's words, the seed of what the rules draw, and `by_rules` where the language model is not to be asked."""

    brief: Brief
    dialect: Dialect
    look: Look
    negative: bool
    lists: WordLists
    seed: int
    persona: Persona | None = None
    by_rules: bool = False

    def finish(self, prompts: Sequence[ParsedPrompt]) -> tuple[ParsedPrompt, ...]:
        """`prompts` in the persona's style, where there is one."""
        if self.persona is None:
            return tuple(prompts)
        return tuple(apply_persona(each, self.persona, self.dialect, negative=self.negative) for each in prompts)


class PromptRoom:
    """The language model for all users. Thread-safe."""

    def __init__(
        self,
        chat: Chat,
        ledger: Ledger,
        get_settings: Callable[[], Settings],
        check_answer: Callable[[str, User], None] = lambda text, user: None,
    ) -> None:
        """`check_answer` is called with each whole answer and the user, and raises ContentRefused for one that may not
        be used."""
        self._chat, self._ledger, self._get_settings = chat, ledger, get_settings
        self._check_answer = check_answer
        self._room = threading.BoundedSemaphore(MAX_CALLS)

    @property
    def model(self) -> str:
        """The name of the language model, "" where there is none."""
        return self._chat.model

    @property
    def paid(self) -> bool:
        """Whether a call may cost money."""
        return bool(self._chat.model) and self._chat.paid

    def rewrite(
        self, prompt: str, dialect: Dialect, user: User, is_cancelled: Callable[[], bool]
    ) -> Iterator[TextPiece | RewrittenPrompt]:
        """`prompt` written anew, piece by piece and then whole. LoRA tags, wildcards, weights and quoted text stay.

        Raises:
            NotConfigured, LlmTimeout, RateLimited, Unreachable, ProviderError: no answer, or one that cannot be used;
                the message says why. JobCancelled.
        """
        protected = protect_parts(prompt)
        pieces: list[str] = []
        messages = build_rewrite_messages(protected.text, dialect)
        for piece in self.ask(messages, REWRITE_SCHEMA, user, is_cancelled):
            pieces.append(piece)
            yield TextPiece(piece)
        written = read_rewrite("".join(pieces))
        self._check_answer(written, user)
        if not written:
            raise ProviderError("The language model gave no prompt.", hint="Try again; your prompt is unchanged.")
        yield RewrittenPrompt(restore_parts(written, protected.parts), _list_notes(prompt, (written,)))

    def find_prompts(
        self, wanted: BriefRequest, user: User, is_cancelled: Callable[[], bool]
    ) -> Iterator[Classification | TextPiece | PromptIdeas]:
        """What is understood of the brief at once, then the language model's answer as it comes, and the prompts: the
        model's, or those of the rules where there is no model, it gives none or cannot be reached.

        Raises:
            LlmTimeout: `details` hold what the rules have. JobCancelled, and what `Chat.stream` raises.
        """
        known = correct_classification(classify_brief(wanted.brief.words), wanted.brief.corrections)
        yield known
        rules = wanted.finish(
            write_prompts(
                wanted.brief,
                wanted.seed,
                wanted.lists,
                dialect=wanted.dialect,
                look=wanted.look,
                negative=wanted.negative,
            )
        )
        if not self._chat.model or wanted.by_rules:
            yield PromptIdeas(prompts=rules, classification=known, source=BY_RULES)
            return
        pieces: list[str] = []
        try:
            messages = build_idea_messages(wanted.brief, known, wanted.dialect, wanted.persona)
            for piece in self.ask(messages, IDEAS_SCHEMA, user, is_cancelled):
                pieces.append(piece)
                yield TextPiece(piece)
        except LlmTimeout as error:
            error.details |= {"classification": known, "prompts": rules}
            raise
        except (Unreachable, ProviderError, RateLimited, BudgetExceeded) as error:
            notes = (f"{error.message} These are by rules.",)
            if isinstance(error, BudgetExceeded):
                notes = (*notes, error.hint)
            yield PromptIdeas(prompts=rules, classification=known, source=BY_RULES, notes=notes)
            return
        prompts, _ = read_prompts("".join(pieces))
        self._check_answer("\n".join(each.prompt for each in prompts), user)
        if not prompts:
            note = "The language model gave no prompts; these are by rules."
            yield PromptIdeas(prompts=rules, classification=known, source=BY_RULES, notes=(note,))
            return
        escaped = tuple(
            dataclasses.replace(
                each,
                prompt=escape_text(each.prompt),
                negative_prompt=escape_text(each.negative_prompt) if wanted.negative else "",
            )
            for each in prompts[: wanted.brief.count]
        )
        notes = _list_notes(wanted.brief.words, [each.prompt for each in escaped])
        yield PromptIdeas(prompts=wanted.finish(escaped), classification=known, source=self._chat.model, notes=notes)

    def describe(
        self, image: Image.Image, user: User, is_cancelled: Callable[[], bool]
    ) -> Iterator[TextPiece | ImageDescription]:
        """What the language model sees in `image`, piece by piece and then whole; raises as `rewrite`."""
        pieces: list[str] = []
        for piece in self.ask(build_vision_messages(image), None, user, is_cancelled):
            pieces.append(piece)
            yield TextPiece(piece)
        written = read_rewrite("".join(pieces))
        self._check_answer(written, user)
        if not written:
            raise ProviderError("The language model gave no description.", hint="Use a model that sees images.")
        yield ImageDescription(prompt=escape_text(written), source=self._chat.model)

    def may_ask(self, user: User) -> bool:
        """Whether a caller may use the language model, which may cost money."""
        return not self._chat.paid or user.may(Right.SPEND)

    def check_spending(self, user: User) -> None:
        """Refuse a caller who may spend nothing where the chat server is a paid one; raises Forbidden."""
        if self._chat.paid:
            user.require(Right.SPEND)

    def ask(
        self,
        messages: Sequence[Mapping[str, Any]],
        schema: Mapping[str, Any] | None,
        user: User,
        is_cancelled: Callable[[], bool],
    ) -> Iterator[str]:
        """The pieces of the answer; raises as `Chat.stream`, and BudgetExceeded before anything is sent."""
        if not self._chat.model:
            raise NotConfigured("There is no chat server.", hint="Enter chat_url in Configurations.")
        yield from self._wait_for_room(is_cancelled)
        try:
            if self._chat.paid:
                yield from self._buy(messages, schema, user, is_cancelled)
            else:
                yield from self._chat.stream(messages, schema=schema, is_cancelled=is_cancelled)
        finally:
            self._room.release()

    def _buy(
        self,
        messages: Sequence[Mapping[str, Any]],
        schema: Mapping[str, Any] | None,
        user: User,
        is_cancelled: Callable[[], bool],
    ) -> Iterator[str]:
        """`ask` for an answer that may cost: taken of the budgets first, and settled by what the server has counted."""
        settings = user.adjust_settings(self._get_settings())
        price = read_token_price(settings)
        if price is None and (settings.budget_day or settings.budget_month):
            raise BudgetExceeded(
                "What the chat server costs is unknown, and there is a budget.",
                hint="Enter its price per million tokens in Configurations, 0 where it is free.",
            )
        expected = price.compute_cost(estimate_use(messages)) if price else None
        call_id = f"chat-{secrets.token_hex(8)}"
        counted: list[TokenUse] = []
        length = 0
        self._ledger.reserve(call_id, user.name, expected or 0.0, settings)
        try:
            model = (CHAT_PROVIDER, self._chat.model)
            with self._ledger.record_purchase((call_id, user.name), model, 0, expected) as bought:
                for piece in self._chat.stream(
                    messages, schema=schema, is_cancelled=is_cancelled, on_use=counted.append
                ):
                    length += len(piece)
                    yield piece
                if price is not None:
                    bought.cost = price.compute_cost(counted[-1] if counted else estimate_use(messages, length))
        finally:
            self._ledger.release(call_id)

    def _wait_for_room(self, is_cancelled: Callable[[], bool]) -> Iterator[str]:
        end = time.monotonic() + _ROOM_SECONDS
        while not self._room.acquire(timeout=_POLL_SECONDS):
            if is_cancelled():
                raise JobCancelled("Stopped.", hint="")
            if time.monotonic() > end:
                raise RateLimited("The language model is busy.", hint="Try again in a minute.")
            yield ""


def _list_notes(said: str, written: Sequence[str]) -> tuple[str, ...]:
    """A note where a language model describes people beyond what the user said."""
    found = dict.fromkeys(phrase for text in written for phrase in find_added_traits(said, text))
    if not found:
        return ()
    phrases = ", ".join(f"“{phrase}”" for phrase in list(found)[:MOST_TRAITS])
    return (f"The language model describes people beyond your words: {phrases}. Check that this is meant.",)
