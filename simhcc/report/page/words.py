"""The report's words in its languages, from one catalogue: words.json beside this file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

LANGUAGES = {"en": "en", "zh": "zh-Hans"}
"""language of `--lang` -> the page's lang attribute"""


@cache
def catalogue() -> Mapping[str, Mapping[str, str]]:
    """Key -> language -> words."""
    text = files(__package__).joinpath("words.json").read_text(encoding="utf-8")
    found: Mapping[str, Mapping[str, str]] = json.loads(text)
    return found


@dataclass(frozen=True)
class Words:
    """The words of one language."""

    language: str

    def __call__(self, key: str, **values: Any) -> str:
        """The words of a key, with {names} filled in. A key that is not in the catalogue is a defect: KeyError."""
        text = catalogue()[key][self.language]
        return text.format(**values) if values else text

    def or_id(self, prefix: str, name: str) -> str:
        """The words of a name that may be the user's own; the name itself where the catalogue has none."""
        found = catalogue().get(f"{prefix}.{name}")
        return found[self.language] if found is not None else name.replace("_", " ")

    def has(self, key: str) -> bool:
        """Whether the catalogue has words for a key."""
        return key in catalogue()

    def text(self, english: str | None) -> str:
        """A sentence of the shipped inputs, translated where the catalogue knows it."""
        if not english:
            return ""
        found = catalogue().get(f"text.{english}")
        return found[self.language] if found is not None else english

    def label(self, labels: Mapping[str, str | None] | None, otherwise: str) -> str:
        """The label in this language, else in another, else the id."""
        labels = labels or {}
        return labels.get(self.language) or labels.get("en") or labels.get("zh") or otherwise
