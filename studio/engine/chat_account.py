"""The chat server as page and HTTP see it: its model, whether it may cost, its key by the last characters, and a check
that costs nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from studio.core.errors import NotConfigured
from studio.core.ports import Chat
from studio.engine.money.keys import KeyState, KeyStore

_SHOWN_MODELS = 8


@dataclass(frozen=True, kw_only=True)
class ChatState:
    """`model` is "" where there is no chat server; `paid` says that a call may cost money; `key` never holds the key
    itself."""

    model: str
    paid: bool
    key: KeyState


class ChatAccount:
    """The chat server of the settings and its key."""

    def __init__(self, chat: Chat, keys: KeyStore, key_name: str) -> None:
        self._chat, self._keys, self._key_name = chat, keys, key_name

    def get_state(self) -> ChatState:
        """What is set."""
        return ChatState(
            model=self._chat.model,
            paid=bool(self._chat.model) and self._chat.paid,
            key=self._keys.get_state(self._key_name),
        )

    def set_key(self, value: str) -> ChatState:
        """Keep the key. Raises InvalidRequest for no key of anybody, and StorageFailed."""
        self._keys.set(self._key_name, value)
        return self.get_state()

    def remove_key(self) -> ChatState:
        """Forget the key, but for one in the environment."""
        self._keys.remove(self._key_name)
        return self.get_state()

    def check(self) -> str:
        """Ask the server for its models, which costs nothing; a sentence for the user. May take seconds.

        Raises:
            NotConfigured: there is no server, its key is wrong, or it does not have the model of the settings.
            RateLimited, Unreachable, ProviderError: the server does not answer, or not as a chat server does.
        """
        model = self._chat.model
        if not model:
            raise NotConfigured("There is no chat server.", hint="Enter its address.")
        known = self._chat.list_models()
        if not known:
            return "The server responds, but does not list its models."
        if self._chat.names_model and model not in known:
            raise NotConfigured(f"The server has no model “{model}”.", hint=f"It has {_name_some(known)}.")
        return f"The server answers. It has {_name_some(known)}."


def _name_some(models: Sequence[str]) -> str:
    shown = ", ".join(models[:_SHOWN_MODELS])
    return shown + (f" and {len(models) - _SHOWN_MODELS} more" if len(models) > _SHOWN_MODELS else "")
