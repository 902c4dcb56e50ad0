"""Variants of the prompts: small edits to a scenario's situational prompt, and what else differs from the default.

A variant is a file in `scenario/<name>/variants/` or, where it fits every scenario, in `scenario/prompts/variants/`. The
situational prompt (`situation.md`) has sections, each under a heading that only names it and is not shown to the model. An
edit names a section and must change it: one that matches nothing is refused, so that no variant is the default by mistake.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from pipeline.errors import Refused, closest
from scenario.tags import TIERS_OF, Tier, TierForm

DEFAULT = "default"
"""The variant that is no file: the prompts as they stand."""

SHARED_DIR = Path(__file__).parent / "prompts" / "variants"

Sections = dict[str, str]

_HEADING = re.compile(r"^## ([a-z_]+)\n+", re.MULTILINE)


@dataclass(frozen=True)
class Edit:
    """One change of one section; exactly one of `remove`, `text`, `append` and `find` is given."""

    section: str
    remove: bool = False
    text: str = ""
    """Stands in place of the section."""
    append: str = ""
    """Is added to the section's end."""
    find: str = ""
    """Occurs once in the section, and is replaced …"""
    by: str = ""
    """… by this."""


@dataclass(frozen=True)
class Variant:
    """How a telling differs from the default, each part of it empty where it does not."""

    about: str
    """What differs, and which published ablation this follows."""
    edits: tuple[Edit, ...] = ()
    """Changes of the situational prompt."""
    names: dict[str, str] = field(default_factory=dict)
    """Names that prompts use in place of the identity's; what the documents said is not changed by it."""
    system: str = ""
    """A paragraph of the system prompt before the one on how to answer, whatever the information."""
    user: str = ""
    """A paragraph of the user turn after the query."""
    untagged: tuple[Tier, ...] = ()
    """Tiers whose queries have no tag."""


def variant_names(folder: Path) -> list[str]:
    """The variants of the scenario in `folder`, the default first."""
    files = [*(folder / "variants").glob("*.yaml"), *SHARED_DIR.glob("*.yaml")]
    return [DEFAULT, *sorted({path.stem for path in files})]


def load_variant(folder: Path, name: str) -> Variant:
    """The variant `name` of the scenario in `folder`.

    Raises:
        Refused: there is no such variant, or its file is malformed.
    """
    if name == DEFAULT:
        return Variant(about="the prompts as they stand")
    if name not in (known := variant_names(folder)):
        raise Refused(f"unknown variant '{name}' of {folder.name}{closest(name, known)}; known: {', '.join(known)}")
    own = folder / "variants" / f"{name}.yaml"
    return _read_variant(own if own.exists() else SHARED_DIR / f"{name}.yaml")


def load_tier_edits(folder: Path, form: TierForm) -> tuple[Edit, ...]:
    """The changes of the situational prompt that a form of tiers needs: `scenario/<name>/tiers/<form>.yaml`.

    Raises:
        Refused: the scenario has no such form, or its file is malformed.
    """
    if form == "two":
        return ()
    path = folder / "tiers" / f"{form}.yaml"
    if not path.exists():
        raise Refused(f"tiers={form}: scenario {folder.name} does not tell of it ({path} is missing)")
    return _read_variant(path).edits


def read_sections(text: str, path: Path) -> Sections:
    """A situational prompt's sections by name, in order.

    Raises:
        Refused: something stands before the first heading, or a name occurs twice.
    """
    before, *parts = _HEADING.split(text)
    names = parts[::2]
    if before.strip() or not names or len(set(names)) < len(names):
        raise Refused(f"{path}: needs sections, each below a line such as `## objective` with a name of its own")
    return {name: body.strip() for name, body in zip(names, parts[1::2], strict=True)}


def edited(sections: Sections, edits: tuple[Edit, ...], where: str) -> Sections:
    """The sections after every edit in turn.

    Raises:
        Refused: an edit names no section, or changes nothing.
    """
    changed = dict(sections)
    for edit in edits:
        if edit.section not in changed:
            raise Refused(f"{where}: no section '{edit.section}' to edit; there are {', '.join(changed) or 'none'}")
        before = changed.pop(edit.section) if edit.remove else changed[edit.section]
        if edit.remove:
            continue
        after = _apply(edit, before, where)
        if after == before:
            raise Refused(f"{where}: the edit of section '{edit.section}' changes nothing")
        changed[edit.section] = after
    return changed


def _apply(edit: Edit, section: str, where: str) -> str:
    if edit.text:
        return edit.text.strip()
    if edit.append:
        return f"{section} {edit.append.strip()}"
    if (times := section.count(edit.find)) != 1:
        raise Refused(f"{where}: '{edit.find}' occurs {times} times in section '{edit.section}' and must occur once")
    return section.replace(edit.find, edit.by).strip()


def _read_variant(path: Path) -> Variant:
    try:
        content: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
        edits = tuple(Edit(**edit) for edit in content.pop("edits", []))
        variant = Variant(edits=edits, untagged=tuple(content.pop("untagged", [])), **content)
    except (yaml.YAMLError, TypeError, AttributeError) as error:
        raise Refused(f"{path}: {' '.join(str(error).split())}; a variant has the keys of scenario.variants") from None
    for edit in edits:
        given = [kind for kind in ("remove", "text", "append", "find") if getattr(edit, kind)]
        if len(given) != 1:
            raise Refused(f"{path}: an edit of '{edit.section}' needs exactly one of remove, text, append and find")
    if unknown := set(variant.untagged) - {tier for tiers in TIERS_OF.values() for tier in tiers}:
        raise Refused(f"{path}: untagged names unknown tiers: {', '.join(sorted(unknown))}")
    return variant
