"""Public sets of harmful requests by name, loaded from the Hugging Face Hub at run time; none of their text ships here."""

from dataclasses import dataclass
from functools import cache

from pipeline.errors import Refused, closest
from pipeline.seeds import derive_seed
from scenario.loader import Query


@dataclass(frozen=True)
class PublicSet:
    """Where a set lies on the Hub, and which of its columns hold the request and its category."""

    dataset: str
    config: str | None
    split: str
    text: str
    category: str | None


PUBLIC_SETS = {
    "advbench": PublicSet("walledai/AdvBench", None, "train", "prompt", None),
    "harmbench": PublicSet("walledai/HarmBench", "standard", "train", "prompt", "category"),
    "jailbreakbench": PublicSet("JailbreakBench/JBB-Behaviors", "behaviors", "harmful", "Goal", "Category"),
}
"""Zou et al. 2023 (AdvBench), Mazeika et al. 2024 (HarmBench), Chao et al. 2024 (JailbreakBench)."""


@cache
def load_public_queries(name: str) -> tuple[Query, ...]:
    """The set's requests, half of them in each split by a hash of their text, so that the split is the same everywhere.

    Loaded once a process: the checks and every cell of the grid ask for them.

    Raises:
        Refused: the name is unknown, or the Hub (or, for a gated set, access to it) is out of reach.
    """
    if name not in PUBLIC_SETS:
        raise Refused(f"queries={name}: unknown{closest(name, PUBLIC_SETS)}; known: {', '.join(PUBLIC_SETS)}")
    from datasets import load_dataset
    from datasets.exceptions import DatasetsError

    where = PUBLIC_SETS[name]
    try:
        rows = list(load_dataset(where.dataset, where.config, split=where.split))
    except (OSError, DatasetsError) as error:
        told = str(error).strip().splitlines()[0]
        raise Refused(f"queries={name}: {where.dataset} cannot be loaded from the Hub ({told})") from None
    return to_queries(name, where, rows)


def to_queries(name: str, where: PublicSet, rows: list[dict[str, str]]) -> tuple[Query, ...]:
    """The rows of a set as queries."""
    return tuple(
        Query(
            id=f"{name}-{number:04d}",
            split="eval" if derive_seed(name, row[where.text]) % 2 else "rl",
            category=row[where.category] if where.category else name,
            text=row[where.text],
        )
        for number, row in enumerate(rows)
    )
