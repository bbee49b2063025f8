"""Sources of numbers: params/sources.yaml."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from simhcc.inputs.locate import ID, ID_WORDS, file_name
from simhcc.inputs.models import SourceModel, validate
from simhcc.inputs.reader import Document, KeyPath, Place, describe, nearest, read_yaml

SOURCES = "sources.yaml"


@dataclass(frozen=True)
class Source:
    """Where numbers come from: a publication or another public document."""

    id: str
    citation: str
    doi: str | None = None
    pmid: str | None = None
    year: int | None = None
    dossier: str | None = None
    seen: str | bool | None = None
    url: str | None = None
    note: str | None = None
    place: Place | None = None


def read_sources(root: Path) -> dict[str, Source]:
    """The sources listed in a params folder, by id."""
    path = root / SOURCES
    if not path.is_file():
        return {}
    document = read_yaml(path, file_name(path))
    if not isinstance(document.tree, dict):
        raise document.error((), describe(document.tree), "a mapping of source ids to citations")
    sources = {}
    for name in document.tree:
        if not ID.match(name):
            raise document.error((name,), f"the source id {name!r}", ID_WORDS)
        source = validate(SourceModel, document, (name,), "a source")
        pmid = None if source.pmid is None else str(source.pmid)
        sources[name] = Source(
            name,
            source.citation,
            source.doi,
            pmid,
            source.year,
            source.dossier,
            source.seen,
            source.url,
            source.note,
            document.place((name,)),
        )
    return sources


def check_sources(document: Document, key: KeyPath, names: Sequence[str], sources: Mapping[str, Source]) -> None:
    """InputError for a source that is not listed, with the nearest one."""
    for position, name in enumerate(names):
        if name not in sources:
            near = nearest(name, sources)
            raise document.error(
                (*key, position),
                f"the source {name!r}, which is not in params/sources.yaml",
                f"{near}?" if near else "an id listed in params/sources.yaml",
            )
