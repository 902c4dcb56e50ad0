"""Prints the README's table of claims from the configurations: command, hardware, estimated GPU-hours and dollars, files.

python scripts/claims_table.py
"""

import sys
from pathlib import Path

import yaml

CONF = Path(__file__).parent.parent / "conf"
SIZES = ("smoke", "node", "paper")


def table() -> str:
    """The table as Markdown, one line a claim and size."""
    lines = [
        "| claim | command | hardware | GPU-hours, dollars (estimated) | CSV and figure |",
        "| --- | --- | --- | --- | --- |",
    ]
    for stages in sorted((CONF / "claim_stages").glob("*.yaml")):
        claim = stages.stem
        for size in SIZES:
            needs = yaml.safe_load((CONF / "experiment" / claim / f"{size}.yaml").read_text(encoding="utf-8"))["needs"]
            cost = f"{needs['gpu_hours']}, {needs['dollars']}" if "gpu_hours" in needs else "none"
            files = f"`outputs/claims/{size}/{claim}/` `results.csv`, `figure.svg`"
            command = f"`python -m pipeline experiment={claim}/{size}`"
            lines.append(
                f"| {claim if size == SIZES[0] else ''} | {command} | {needs['hardware']} | {cost} | {files} |"
            )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(table())
