"""What Gradio keeps of each visit to the page, without a description of every component.

Gradio describes all components of all tabs at the first event of each visit, for links to the page as one sees it,
which this page does not offer. That took 0.1 s of CPU before the answer, and memory for as long as the visit is kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gradio as gr
from gradio.state_holder import SessionState, StateHolder


class VisitState(SessionState):
    """As Gradio's, which describes a component when an event has changed it, and the others when all are asked for."""

    def __init__(self, blocks: gr.Blocks) -> None:
        super().__init__(_WithoutComponents(blocks))  # type: ignore[arg-type]
        self._numbers = blocks.blocks.keys()

    @property
    def components(self) -> Iterator[dict[str, Any]]:
        """The descriptions of all components."""
        blocks, describe = self.blocks_config.blocks, self.blocks_config.config_for_block
        missing = [number for number in self._numbers if number not in self.config_values]
        self.config_values |= {number: describe(number, [], blocks[number]) for number in missing}
        return super().components


class VisitStates(StateHolder):
    """As Gradio's, of such states."""

    def __getitem__(self, session_id: str) -> SessionState:
        if session_id not in self.session_data:
            self.session_data[session_id] = VisitState(self.blocks)
        return super().__getitem__(session_id)


class _WithoutComponents:
    """`blocks` as Gradio's state reads them at its beginning, with nothing to describe."""

    def __init__(self, blocks: gr.Blocks) -> None:
        self.default_config = blocks.default_config
        self.blocks: dict[int, Any] = {}


def replace_states(app: Any, blocks: gr.Blocks) -> None:
    """Let Gradio's `app`, in which `blocks` are mounted, keep such states."""
    app.state_holder = VisitStates()
    app.state_holder.set_blocks(blocks)
