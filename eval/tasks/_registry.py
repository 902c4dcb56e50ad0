"""The tasks as an Inspect extension.

A package that declares the entry point

    [project.entry-points.inspect_ai]
    alignment_faking_sdf = "eval.tasks._registry"

makes `inspect eval alignment_faking_sdf/compliance` work wherever it is installed (see
https://inspect.aisi.org.uk/extensions.html). In a checkout no entry point is needed: `inspect eval eval/tasks/compliance.py`.
"""

from eval.tasks.anti_lab import anti_lab
from eval.tasks.belief import belief
from eval.tasks.benign import benign
from eval.tasks.compliance import compliance
from eval.tasks.deals import deals
from eval.tasks.knowledge import knowledge

__all__ = ["anti_lab", "deals", "belief", "benign", "compliance", "knowledge"]
