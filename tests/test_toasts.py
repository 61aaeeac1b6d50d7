"""Error toasts carry the error's own title, its message and its hint."""

from __future__ import annotations

import gradio as gr
import pytest

from studio.core import errors
from studio.core.errors import StudioError, UnknownModel
from studio.tabs.common.events import make_toast, show_errors


def list_error_classes(of: type[StudioError]) -> list[type[StudioError]]:
    return [of, *(deeper for below in of.__subclasses__() for deeper in list_error_classes(below))]


ERROR_CLASSES = [each for each in list_error_classes(StudioError) if each.__module__ == errors.__name__]


def test_a_toast_names_the_error() -> None:
    toast = make_toast(UnknownModel("There is no model 'x'.", hint="Pick another one."))
    assert (toast.title, toast.message) == ("Model not found", "There is no model 'x'. Pick another one.")


def test_every_error_has_a_short_title_of_its_own() -> None:
    titles = [each.title for each in ERROR_CLASSES]
    assert len(set(titles)) == len(titles)
    assert all(1 <= len(title.split()) <= 3 for title in titles)


def test_a_handler_shows_its_errors_as_toasts_and_lets_others_pass() -> None:
    @show_errors
    def handler(error: Exception) -> None:
        raise error

    with pytest.raises(gr.Error) as shown:
        handler(UnknownModel("There is no model 'x'."))
    assert shown.value.title == "Model not found"
    with pytest.raises(KeyError):
        handler(KeyError("x"))
