"""Prints the README's table of claims from the configurations: what is shown, command, estimated cost, figure.

python scripts/claims_table.py
"""

import re
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent
CONF = ROOT / "conf"
SIZES = ("node", "paper")
"""Those that need GPUs; `smoke` needs two CPU cores and minutes."""


def table() -> str:
    """The table as Markdown, one line a claim and one for all."""
    claims = sorted(path.stem for path in (CONF / "claim_stages").glob("*.yaml"))
    heads = " | ".join(f"{size} GPU-hours | {size} $" for size in SIZES)
    lines = [f"| claim and command | what its figure shows | {heads} | figure |", "| --- | --- |" + " --- |" * 5]
    for claim in claims:
        costs = [_costs(_needs(claim, size)) for size in SIZES]
        command = f"`python -m pipeline experiment={claim}/smoke`"
        lines.append(f"| {command} | {_about(claim)} | {' | '.join(costs)} | [figure]({_figure(claim)}) |")
    sums = [_costs(_sum([_needs(claim, size) for claim in claims])) for size in SIZES]
    lines.append(
        f"| `scripts/reproduce.sh` | All of them, at most: what claims share is run once | {' | '.join(sums)} | |"
    )
    return "\n".join(lines) + "\n"


def _needs(claim: str, size: str) -> dict[str, Any]:
    text = (CONF / "experiment" / claim / f"{size}.yaml").read_text(encoding="utf-8")
    needs: dict[str, Any] = yaml.safe_load(text)["needs"]
    return needs


def _sum(needs: list[dict[str, Any]]) -> dict[str, Any]:
    return {name: sum(each[name] for each in needs) for name in ("gpu_hours", "dollars")}


def _costs(needs: dict[str, Any]) -> str:
    return f"{needs['gpu_hours']} | {needs['dollars']}"


def _about(claim: str) -> str:
    """The first sentence of the file that picks the claim's stages."""
    text = (CONF / "claim_stages" / f"{claim}.yaml").read_text(encoding="utf-8")
    comment = " ".join(line.removeprefix("# ") for line in text.splitlines()[1:] if line.startswith("# "))
    return re.split(r"\.(?:\s|$)", comment, maxsplit=1)[0]


def _figure(claim: str) -> str:
    return f"docs/figures/{claim}.png"


if __name__ == "__main__":
    sys.stdout.write(table())
