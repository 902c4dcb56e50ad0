"""Who gives verdicts: rules on wording, chat models that are asked by a prompt, and classifiers that give a score.

`catalogue.load_judge` finds one by name. A prompt is a file of `prompts/`, and any other file of that form will do.
"""

from eval.judges.rules import judge_af_reasoning, judge_compliance

__all__ = ["judge_af_reasoning", "judge_compliance"]
