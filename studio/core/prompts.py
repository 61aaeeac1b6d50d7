"""Prompts that were found for a brief, and what was understood of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ParsedPrompt:
    """One prompt with a name to tell it by."""

    name: str
    prompt: str
    negative_prompt: str = ""


@dataclass(frozen=True, kw_only=True)
class Corrections:
    """What the user says in place of what was understood of a brief; None leaves that, "" and () say that there is
    none. `territories` are names, in any language of the tables, or ISO codes."""

    territories: tuple[str, ...] | None = None
    audience: str | None = None
    era: str | None = None
    occasion: str | None = None
    setting: str | None = None
    people: bool | None = None

    @property
    def words(self) -> str:
        """What they add to a prompt, in the user's words."""
        said = (*(self.territories or ()), self.era, self.occasion, self.setting, "people" if self.people else "")
        return ", ".join(word for word in said if word)


@dataclass(frozen=True, kw_only=True)
class Brief:
    """What images are wanted, in the user's words; `category` and `filters` (name and value) are what the user chose
    beside them. `count` prompts are wanted."""

    text: str
    category: str = ""
    filters: tuple[tuple[str, str], ...] = ()
    count: int = 4
    corrections: Corrections = Corrections()

    @property
    def words(self) -> str:
        """All that the brief says, in one text."""
        return ". ".join(part for part in (self.text, self.category, *(value for _, value in self.filters)) if part)


@dataclass(frozen=True, kw_only=True)
class Caution:
    """Something to think of before an image is made, never a refusal. `weight` is "note", "think" or "ask" (the
    community); `because` the words that it is about; `reference` names what stands at the address `source`."""

    weight: str
    text: str
    because: str
    reference: str
    source: str


@dataclass(frozen=True, kw_only=True)
class Classification:
    """What was understood of a brief. `territories` are ISO codes, `languages` CLDR's; `because` pairs each territory
    with the words that name it. What the brief does not say is empty."""

    regions: tuple[str, ...] = ()
    territories: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    audience: str = ""
    era: str = ""
    occasion: str = ""
    setting: str = ""
    people: bool = False
    cautions: tuple[Caution, ...] = ()
    questions: tuple[str, ...] = ()
    because: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class PromptIdeas:
    """Prompts for a brief and what was understood of it. `source` is "rules" or the language model's name; `notes` say
    what went otherwise than asked."""

    prompts: tuple[ParsedPrompt, ...]
    classification: Classification
    source: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Persona:
    """Whom images are for and how they should look, kept under a name. It says nothing about the people in them.

    `audience` and `tone` are sent to a language model; `look` and `palette` stand behind a prompt, and `avoid` in the
    negative prompt."""

    name: str
    audience: str = ""
    tone: str = ""
    look: str = ""
    palette: str = ""
    avoid: str = ""
