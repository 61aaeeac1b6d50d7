"""The system's keyring, where there is one that keeps things safe: Keychain, Credential Manager, Secret Service,
KWallet."""

from __future__ import annotations

import logging

_SERVICE = "Easel"

_log = logging.getLogger(__name__)


class SystemKeyring:
    """Keys by name, kept by the system. What it cannot do it says by its answer and in the log; nothing raises."""

    def keep(self, name: str, value: str) -> bool:
        """Whether the system has taken the key: False where it has no keyring, or a locked one."""
        import keyring
        from keyring.errors import KeyringError

        try:
            if keyring.get_keyring().priority < 1:  # those below 1 are no keyrings, or not for everyday use
                return False
            keyring.set_password(_SERVICE, name, value)
        except (KeyringError, OSError, RuntimeError) as error:
            _log.warning("the system's keyring did not take a key: %s", type(error).__name__)
            return False
        return True

    def get(self, name: str) -> str:
        """The key, "" when the keyring has none or does not open."""
        import keyring
        from keyring.errors import KeyringError

        try:
            return keyring.get_password(_SERVICE, name) or ""
        except (KeyringError, OSError, RuntimeError) as error:
            _log.warning("the system's keyring did not give a key: %s", type(error).__name__)
            return ""

    def drop(self, name: str) -> None:
        """Forget the key, if it is there."""
        import keyring
        from keyring.errors import KeyringError

        try:
            keyring.delete_password(_SERVICE, name)
        except (KeyringError, OSError, RuntimeError) as error:
            _log.warning("the system's keyring did not forget a key: %s", type(error).__name__)
