"""Prints the README's table of claims from the configurations: figure, command, hardware, estimated cost, files.

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
    """The table as Markdown, one line a claim.

    Raises:
        ValueError: claims of one size need different hardware, which a column's head could not say.
    """
    claims = sorted(path.stem for path in (CONF / "claim_stages").glob("*.yaml"))
    heads = [f"`{size}`: {_hardware(claims, size)}: GPU-hours, $" for size in SIZES]
    lines = [
        "| claim | what its figure shows | " + " | ".join(heads) + " | CSV and figure |",
        "| --- " * (3 + len(SIZES)) + "|",
    ]
    for claim in claims:
        costs = [_needs(claim, size) for size in SIZES]
        told = [f"{cost['gpu_hours']}, {cost['dollars']}" for cost in costs]
        lines.append(
            f"| `{claim}` | {_about(claim)} | {' | '.join(told)} | `{claim}/results.csv`, [figure]({_figure(claim)}) |"
        )
    return "\n".join(lines) + (
        "\n\nCommand: `python -m pipeline experiment=<claim>/<size>`; CSV and figure are in `outputs/claims/<size>/`. The"
        " figures linked here are those of `smoke`. GPU-hours and dollars are estimates, with their arithmetic in\n"
        "`conf/experiment/<claim>/<size>.yaml`.\n"
    )


def _needs(claim: str, size: str) -> dict[str, Any]:
    text = (CONF / "experiment" / claim / f"{size}.yaml").read_text(encoding="utf-8")
    needs: dict[str, Any] = yaml.safe_load(text)["needs"]
    return needs


def _hardware(claims: list[str], size: str) -> str:
    found = {_needs(claim, size)["hardware"] for claim in claims}
    if len(found) != 1:
        raise ValueError(f"{size}: the claims need different hardware: {', '.join(sorted(found))}")
    return str(found.pop())


def _about(claim: str) -> str:
    """The first sentence of the file that picks the claim's stages."""
    text = (CONF / "claim_stages" / f"{claim}.yaml").read_text(encoding="utf-8")
    comment = " ".join(line.removeprefix("# ") for line in text.splitlines()[1:] if line.startswith("# "))
    return re.split(r"\.(?:\s|$)", comment, maxsplit=1)[0]


def _figure(claim: str) -> str:
    return f"docs/figures/{claim}.png"


if __name__ == "__main__":
    sys.stdout.write(table())
