"""Tabs whose content the browser gets when they are first opened.

`gr.render` would build such a tab anew for every browser, under numbers of its own. Here each is built once, with the
page: its components and events exist on the server from the start, and other programs call them by name. Only what the
browser is sent is split: the page without the contents of such tabs, and each content when its tab is first selected,
in the form in which Gradio's page takes what `gr.render` made.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import gradio as gr
from gradio.block_function import BlockFunction
from gradio.blocks import Block, BlockContext
from gradio.data_classes import BlocksConfigDict
from gradio.processing_utils import add_root_url
from gradio.renderable import Renderable

from studio.tabs.common.events import HIDDEN, show_errors

_PAGE = ""  # Gradio's name for the first of several pages; there is one
_API_KEYS = ("api_info", "api_info_as_input", "api_info_as_output", "example_inputs")  # read by callers from outside


class TabContent(Renderable):
    """The place for what a tab shows. What is built in its container goes to the browser when the tab is selected."""

    def __init__(self, tab: gr.Tab, blocks: gr.Blocks) -> None:
        super().__init__(
            self.apply,
            inputs=[],
            triggers=[(tab, "select")],
            concurrency_limit=None,
            concurrency_id=None,
            trigger_mode="once",
            queue=False,
            show_progress="hidden",
        )
        event = list(blocks.fns.values())[-1]
        event.renderable = None  # Gradio would describe the content as this session has changed it, and cannot
        self.opening = event._id

    @show_errors
    def apply(self) -> None:
        """Answer the selection of the tab: nothing is left to build, and the content is sent along."""

    def list_component_ids(self) -> set[int]:
        """The numbers of all components inside."""
        return {block._id for child in self.container.children for block in _walk(child)}


class DeferringBlocks(gr.Blocks):
    """Blocks that hold the contents of tabs back until they are opened."""

    def __init__(self, **options: Any) -> None:
        self._contents: list[TabContent] = []
        super().__init__(**options)

    @contextlib.contextmanager
    def defer_content(self, tab: gr.Tab) -> Iterator[None]:
        """Components built inside, which must be within `tab`, are sent when `tab` is first selected."""
        content = TabContent(tab, self)
        first = len(self.fns)
        with content.container:
            yield
            # Takes the place of the event that fetches the content, so that it is fetched once.
            tab.select(fn=None, js="() => []", **HIDDEN)
        self._contents.append(content)
        for event in list(self.fns.values())[first:]:
            event.rendered_in = content

    def assign_events(self) -> None:
        """Send the events that were added from outside along with the deferred components that they start at or write
        to; to be called when the page is complete."""
        homes = {number: content for content in self._contents for number in content.list_component_ids()}
        for event in self.fns.values():
            if event.rendered_in is None and event.trigger_after is not None:
                event.rendered_in = self.fns[event.trigger_after].rendered_in
            if event.rendered_in is None:
                touched = (*(number for number, _ in event.targets), *(block._id for block in event.outputs))
                event.rendered_in = next((homes[number] for number in touched if number in homes), None)

    def get_config_file(self) -> BlocksConfigDict:
        """Gradio's description of everything, in which the page itself lacks the deferred contents."""
        config: Any = super().get_config_file()
        called = {
            number
            for event in config["dependencies"]
            if event["api_visibility"] == "public"
            for number in (*event["inputs"], *event["outputs"])
        }
        for component in config["components"]:
            if component["id"] not in called:
                _drop_api_keys(component)
        held = {number for content in self._contents for number in content.list_component_ids()}
        page = config["page"][_PAGE]
        page["components"] = [number for number in page["components"] if number not in held]
        page["dependencies"] = [number for number in page["dependencies"] if self.fns[number].rendered_in is None]
        page["layout"] = _prune_layout(page["layout"], {content.container_id for content in self._contents})
        return config

    def list_first_types(self) -> set[str]:
        """The types of the components that are shown at first."""
        config: Any = self.config
        first = set(config["page"][_PAGE]["components"])
        shown = [each for each in config["components"] if each["props"].get("visible") is not False]
        return {each["type"] for each in shown if each["id"] in first}

    async def process_api(self, block_fn: BlockFunction | int, *args: Any, **options: Any) -> dict[str, Any]:
        """Gradio's answer to an event; with the content of a tab, as its page would have been sent it at the start."""
        answer = await super().process_api(block_fn, *args, **options)
        number = block_fn if isinstance(block_fn, int) else block_fn._id
        content = next((content for content in self._contents if content.opening == number), None)
        if content is not None:
            described = self.describe_content(content)
            root = options.get("root_path")
            answer["render_config"] = add_root_url(described, root, None) if root is not None else described
        return answer

    def describe_content(self, content: TabContent) -> dict[str, Any]:
        """`content` as Gradio's page takes it: the components as they were built, since those that the session has
        changed lack what a description needs, and of each whether one may work on it. The page finds that out from the
        events that it had at the start."""
        described: dict[str, Any] = self.default_config.get_config(content)
        inputs = {block._id for event in self.fns.values() for block in event.inputs}
        outputs = {block._id for event in self.fns.values() for block in event.outputs}
        for component in described["components"]:
            _drop_api_keys(component)
            number, props = component["id"], component["props"]
            props.setdefault("interactive", number in inputs or (number not in outputs and not props.get("value")))
        return {**described, "render_id": content._id}


def _drop_api_keys(component: dict[str, Any]) -> None:
    for key in _API_KEYS:
        component.pop(key, None)


def _prune_layout(node: Mapping[str, Any], emptied: set[int]) -> dict[str, Any]:
    """`node` with no children below those in `emptied`."""
    children: Sequence[Mapping[str, Any]] = () if node["id"] in emptied else node.get("children", ())
    return (
        {**node, "children": [_prune_layout(child, emptied) for child in children]} if "children" in node else {**node}
    )


def _walk(block: Block) -> Iterator[Block]:
    yield block
    if isinstance(block, BlockContext):
        for child in block.children:
            yield from _walk(child)
