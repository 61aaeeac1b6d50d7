"""Our styles in the form in which Gradio's page puts styles of an app to use: every rule once as it is, and once below
Gradio's own container, where it outweighs the rules of Gradio's components.

Given to Gradio, styles travel inside the page, whose script parses them, writes them anew and has them parsed again
before anything shows. Made once by the server they are a file, which the browser fetches beside the scripts and keeps.
"""

from __future__ import annotations

import re

_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_STATEMENT = re.compile(r"([^{}]+)\{((?:[^{}]|\{[^{}]*\})*)\}")
_DARK = ".dark"


def scope_styles(styles: str, version: str) -> str:
    """`styles` as the page of Gradio `version` would use them. Of what is within `@media` there are only the rules
    below the container, as there.

    Raises:
        ValueError: they hold an at-rule other than `@media` and `@keyframes`.
    """
    container = f".gradio-container.gradio-container-{version.replace('.', '-')} .contain"
    return "\n".join(
        _scope_statement(head.strip(), body.strip(), container)
        for head, body in _STATEMENT.findall(_COMMENT.sub("", styles))
    )


def _scope_statement(head: str, body: str, container: str) -> str:
    if head.startswith("@media"):
        rules = (
            _scope_rule(selector.strip(), rule.strip(), container, f"{_DARK} ")
            for selector, rule in _STATEMENT.findall(body)
        )
        return f"{head} {{ {' '.join(rules)} }}"
    if head.startswith("@keyframes"):
        return f"{head} {{ {body} }}"
    if head.startswith("@"):
        raise ValueError(f"Gradio's page would leave out {head}.")
    return f"{head} {{ {body} }}\n{_scope_rule(head, body, container, _DARK)}"


def _scope_rule(selector: str, body: str, container: str, dark: str) -> str:
    """The rule below the container; where `dark` stands in it, below a dark page. As Gradio does it: divided at each
    comma, also of those within brackets."""
    outer = f"{_DARK} " if dark in f"{selector} {{{body}}}" else ""
    parts = selector.replace(_DARK, "", 1).split(",")
    return f"{', '.join(f'{outer}{container} {part.strip()}' for part in parts)} {{ {body} }}"
