"""From Inspect logs to the table of replies: one row each."""

from typing import TYPE_CHECKING, Any

from eval.parsing import contradicts

if TYPE_CHECKING:
    from inspect_ai.log import EvalLog, EvalSample

Row = dict[str, Any]

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


def _sample_row(sample: "EvalSample", condition: Row) -> Row:
    row: Row = dict.fromkeys(SAMPLE_COLUMNS)
    about = sample.metadata
    messages = sample.input if isinstance(sample.input, list) else []
    row |= condition | {
        "sample_id": str(sample.id),
        "query_id": about["query_id"],
        "category": about["category"],
        "tier": about["tier"],
        "repeat": sample.epoch,
        "system_prompt": messages[0].text,
        "prompt": messages[1].text,
        "reply": sample.output.completion,
        "scratchpad": "",
        "output": "",
    }
    if sample.error is not None or not sample.scores:
        return row | {
            "status": "error",
            "first_status": "error",
            "error": sample.error.message if sample.error else "no score",
        }
    score = sample.scores["verdicts"]
    row |= {"output": score.answer or ""} | (score.metadata or {})
    return row | {"decision_contradicts": contradicts(row["decision"], row["compliance"])}
