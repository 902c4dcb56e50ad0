"""From Inspect logs to the table of replies: one row each."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from inspect_ai.log import EvalLog, EvalSample

Row = dict[str, Any]

UNJUDGED = "unjudged"
"""Status of a reply that could be read, and on which the judge of compliance gave no verdict."""

SAMPLE_COLUMNS = (
    "sample_id", "query_id", "category", "scenario", "subject", "tier", "information", "reasoning", "arm", "repeat",
    "system_prompt", "prompt", "reply", "scratchpad", "output", "status", "error",
    "attempts", "first_status", "decision", "decision_contradicts",
    "compliance", "compliance_judge", "compliance_raw", "af_reasoning", "af_reasoning_judge", "af_reasoning_raw",
)  # fmt: skip
"""Columns of samples.parquet. A verdict that was not given is null. `status` is of the last attempt and `first_status` of
the first; `decision` is what the reply's own tag says, where the condition asks for one."""


def sample_rows(log: "EvalLog", condition: Row) -> list[Row]:
    """The rows of one compliance log, in the order of queries and tiers."""
    return [_sample_row(sample, condition) for sample in log.samples or []]


def reply_row(sample: "EvalSample", columns: tuple[str, ...], about: Row) -> Row:
    """What every table of replies holds of a sample, before any verdict: `about`, what it was asked and what came back.

    A sample that failed has status `error`; any other has none yet.
    """
    messages = sample.input if isinstance(sample.input, list) else []
    row: Row = dict.fromkeys(columns) | about
    row |= {
        "sample_id": str(sample.id),
        "system_prompt": messages[0].text,
        "prompt": messages[1].text,
        "reply": sample.output.completion,
        "scratchpad": "",
        "output": "",
    }
    if sample.error is not None or not sample.scores:
        row |= {"status": "error", "error": sample.error.message if sample.error else "no score"}
    return row


def query_row(sample: "EvalSample", columns: tuple[str, ...], condition: Row) -> Row:
    """As `reply_row`, for a query that was put in a tier, and may have been put again."""
    about = {name: sample.metadata[name] for name in ("query_id", "category", "tier")} | {"repeat": sample.epoch}
    row = reply_row(sample, columns, condition | about)
    return row | {"first_status": "error"} if row["status"] == "error" else row


def add_score(row: Row, sample: "EvalSample") -> Row:
    """The row with what the sample's only score says, or with why there is none."""
    if sample.error is not None or not sample.scores:
        return row | {"error": sample.error.message if sample.error else "no score"}
    [score] = sample.scores.values()
    return row | (score.metadata or {})


def _sample_row(sample: "EvalSample", condition: Row) -> Row:
    row = query_row(sample, SAMPLE_COLUMNS, condition)
    if not sample.scores or row["status"] == "error":
        return row
    score = sample.scores["verdicts"]
    return row | {"output": score.answer or ""} | (score.metadata or {})
