"""What can be told of judges: the model that is asked, how often, and which verdicts the headline figures rest on."""

from dataclasses import dataclass, field
from typing import Any

from pipeline.errors import Refused


@dataclass
class JudgeModelSettings:
    """The chat model that answers the prompts of judges; how it samples is each judge's own."""

    name: str = ""
    """An Inspect model name, `anthropic/<model>`, `vllm/<hub name>`, …; no default, for the embedded one cannot judge."""
    max_tokens: int = 1024
    """Tokens of a judge's answer at most; one that is cut short counts as unparseable."""
    max_connections: int | None = None
    """Requests under way at once; null for the provider's own default."""
    model_args: dict[str, Any] = field(default_factory=dict)
    """Further arguments of the provider."""


@dataclass
class ClassifierSettings:
    """A sequence classifier or reward model that this process loads with transformers."""

    model: str = ""
    """Its folder, or its name on the Hub."""
    label: int = 1
    """Index of the class whose probability is the score; a model with one output gives that output as it is."""
    threshold: float | None = None
    """Complies where the score is at least this. No default: it belongs to the model. Greenblatt et al. 2024 used -0.7 on
    the scale of a preference model that is not public."""
    batch_size: int = 8
    """Texts at once."""
    max_length: int = 4096
    """Tokens of request and output together at most; a longer text is counted as not judged, not cut."""


@dataclass
class JudgingSettings:
    """How verdicts are taken."""

    compliance: str = ""
    """The judge behind `compliance` and its gap; empty for the first of `judges` that measures it, else the rules."""
    af_reasoning: str = ""
    """The judge behind `af_reasoning`; empty for the first of `judges` that measures it, else the rules."""
    label: str = ""
    """Ends the names of this run's verdict columns, where the same judge was asked with another model before."""
    votes: int | None = None
    """Times that each text is put to a judge whose prompt file declares votes (of those that ship, af_four_criteria, as
    published); null for the file's own number (20). Every other judge is asked once."""
    vote_threshold: float | None = None
    """Share of votes from which such a judge's verdict is yes; null for the file's own (0.4 for af_four_criteria)."""
    template: str = ""
    """Where the wording of a classifier is that is asked by a prompt (harmbench, wildguard): a text file, `file.py:NAME`,
    `file.ipynb:NAME.key`, the same in an installed package, or `hub:owner/repository/file`; empty for where its makers
    publish it, as far as that is known."""
    classifier: ClassifierSettings = field(default_factory=ClassifierSettings)

    def __post_init__(self) -> None:
        if self.votes is not None and self.votes < 1:
            raise Refused(f"judging.votes={self.votes}: must be at least 1")
        if self.vote_threshold is not None and not 0 < self.vote_threshold <= 1:
            raise Refused(f"judging.vote_threshold={self.vote_threshold}: must be above 0 and at most 1")
        if self.classifier.batch_size < 1:
            raise Refused(f"judging.classifier.batch_size={self.classifier.batch_size}: must be at least 1")
        if self.label and not self.label.isidentifier():
            raise Refused(f"judging.label={self.label}: letters, digits and _ only")
