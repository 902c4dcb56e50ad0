"""The tasks as an Inspect extension: `inspect eval alignment_faking_sdf/compliance` (https://inspect.aisi.org.uk/extensions.html).

pyproject.toml declares the entry point, and `make setup` installs the project in place. Inspect would take the name before
the slash from the package that holds a task, which is called eval here; so the tasks are registered once more, by the
project's name.
"""

from inspect_ai import task

from eval.tasks.anti_lab import anti_lab
from eval.tasks.belief import belief
from eval.tasks.benign import benign
from eval.tasks.compliance import compliance
from eval.tasks.deals import deals
from eval.tasks.knowledge import knowledge

EXTENSION = "alignment_faking_sdf"

for one in (anti_lab, deals, belief, benign, compliance, knowledge):
    task(name=f"{EXTENSION}/{one.__name__}")(one)  # type: ignore[operator]

__all__ = ["anti_lab", "deals", "belief", "benign", "compliance", "knowledge"]
