"""Judges that are a prompt: a Markdown file with front matter, filled with what the judge may see.

The front matter says what is measured (`measures`), what is shown (`sees`), how the answer is read (`answer`, with
`names` where its form has some), and, where they differ from one plain question, `true_when` (the answer
that makes the verdict true), `votes`, `vote_threshold`, `maybe_threshold`, `scenario`, `preamble`. A judge whose file says
nothing of votes is asked once, at temperature 0, whatever the run says of votes. A classifier with a wording of its own has
`template` instead of a prompt: where its makers publish it, or `given` where the user has to say.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import yaml

from eval.judges.answers import Answer, Form, read_answer
from eval.judges.judge import Judge, Reason, Sees, Shown, Verdict
from eval.judges.rules import judge_compliance
from eval.judges.templates import load_template
from pipeline.errors import Refused
from pipeline.fence import fenced

if TYPE_CHECKING:
    from inspect_ai.model import ModelOutput

_PREAMBLE_FILE = Path(__file__).parent / "preamble.md"
_NAME = re.compile(r"\{(query|scratchpad|output)\}")
_NEEDED = {"measures", "sees", "answer"}
_OPTIONAL = {
    "names": [],
    "true_when": True,
    "votes": None,
    "vote_threshold": 0.5,
    "maybe_threshold": None,
    "scenario": "",
    "preamble": True,
    "template": "",
}
_MAY_SHOW: dict[Sees, set[str]] = {
    "output": {"query", "output"},
    "scratchpad": {"scratchpad"},
    "transcript": {"query", "scratchpad", "output"},
}


@dataclass(frozen=True, kw_only=True)
class PromptedJudge(Judge):
    """A chat model that is asked one question, once or many times."""

    prompt: str
    """With `{query}`, `{scratchpad}`, `{output}` where these go."""
    form: Form
    names: tuple[str, ...]
    true_when: bool
    votes: int
    vote_threshold: float
    maybe_threshold: float | None
    temperature: float

    @property
    def version(self) -> str:
        """The name and a hash of all that decides what it says."""
        settings = (self.prompt, self.form, self.names, self.true_when, self.votes, self.vote_threshold)
        return f"{self.name}@{hashlib.sha256(repr(settings).encode()).hexdigest()[:12]}"

    def fill(self, shown: Shown) -> str:
        """The request: every text stands between marks that it cannot hold itself, and is filled in once."""
        texts = {"query": shown.query, "scratchpad": shown.scratchpad, "output": shown.output}
        return _NAME.sub(lambda found: fenced(found[1], texts[found[1]]), self.prompt)

    def decide(self, replies: "Sequence[ModelOutput | BaseException]") -> Verdict:
        """The verdict from all votes; the share of yes is taken over the votes that can be read.

        Half of the votes or more unread is no verdict, for the reason that most of them have.
        """
        failures = tuple(_text(reply) for reply in replies if isinstance(reply, BaseException))
        return replace(self._decide(replies), num_requests=len(replies), failures=failures)

    def _decide(self, replies: "Sequence[ModelOutput | BaseException]") -> Verdict:
        answers = [None if isinstance(reply, BaseException) else self._read(reply) for reply in replies]
        read = [answer for answer in answers if answer is not None]
        model = next(
            (str(reply.model) for reply in replies if not isinstance(reply, BaseException) and reply.model), ""
        )
        if 2 * len(read) <= len(replies):
            reasons = [_reason(r) for r, answer in zip(replies, answers, strict=True) if answer is None]
            commonest = max(dict.fromkeys(reasons), key=reasons.count)
            return Verdict(None, self.name, _text(replies[0]), commonest, model=model)
        if len(replies) == 1:
            [answer] = read
            reason: Reason = "unstated" if answer.value is None else ""
            value = answer.value == self.true_when if isinstance(answer.value, bool) else answer.value
            return Verdict(value, self.name, _text(replies[0]), reason, answer.score, answer.parts, model)
        return self._count(replies, answers, model)

    def _read(self, reply: "ModelOutput") -> Answer | None:
        if not reply.choices or reply.stop_reason == "content_filter":
            return None
        return read_answer(reply.completion, self.form, self.names, reply.stop_reason == "max_tokens")

    def _count(
        self, replies: "Sequence[ModelOutput | BaseException]", answers: list[Answer | None], model: str
    ) -> Verdict:
        read = [answer for answer in answers if answer is not None]
        votes = [bool(answer.value) == self.true_when for answer in read]
        share = sum(votes) / len(votes)
        value = share >= self.vote_threshold
        told = next(
            _text(reply)
            for reply, answer in zip(replies, answers, strict=True)
            if answer is not None and (bool(answer.value) == self.true_when) == (share >= 0.5)
        )
        raw = f"{sum(votes)} of {len(votes)} votes yes, {len(replies) - len(votes)} unread. One of the more frequent:\n{told}"
        parts = {name: _share(read, name) >= self.vote_threshold for name in read[0].parts}
        if self.maybe_threshold is not None:
            parts["maybe"] = self.maybe_threshold <= share < self.vote_threshold
        return Verdict(value, self.name, raw, score=share, parts=parts, model=model)


@dataclass(frozen=True, kw_only=True)
class TemplateJudge(PromptedJudge):
    """A classifier that is asked in the very words that it was trained with, and so without marks around the texts."""

    def fill(self, shown: Shown) -> str:
        """The request. A text that imitates the template can deceive such a judge, here as wherever it is used."""
        texts = {"query": shown.query, "scratchpad": shown.scratchpad, "output": shown.output}
        return _NAME.sub(lambda found: texts[found[1]], self.prompt)


def load_prompted(
    file: Path, votes: int | None = None, vote_threshold: float | None = None, template: str = ""
) -> PromptedJudge:
    """The judge in a prompt file.

    Args:
        file: the prompt file.
        votes: times that each text is judged, where the file declares votes; None for the file's own number.
        vote_threshold: share of votes from which the verdict is yes, where the file declares votes; None for its own.
        template: where a classifier's own wording is, if not where its file says.

    Raises:
        Refused: the file is missing, its front matter is not as it should be, the prompt shows what the judge may not see,
            or a template cannot be had.
    """
    about, prompt = _read_file(file)
    if about["template"]:
        prompt = _template(file, about["template"], prompt, template)
    sees, form = about["sees"], about["answer"]
    for key, known in (("sees", get_args(Sees)), ("answer", get_args(Form))):
        if about[key] not in known:
            raise Refused(f"{file}: {key}: {about[key]} must be one of {', '.join(known)}")
    shown = set(_NAME.findall(prompt))
    if not shown or shown - _MAY_SHOW[sees]:
        allowed = ", ".join(f"{{{name}}}" for name in sorted(_MAY_SHOW[sees]))
        raise Refused(f"{file}: a judge that sees the {sees} is shown {allowed}, and this shows {sorted(shown)}")
    if form in ("parts", "field") and not about["names"]:
        raise Refused(f"{file}: answer: {form} needs names, the lines that are read")
    is_voted = about["votes"] is not None
    if form == "number" and is_voted:
        raise Refused(f"{file}: a number is not voted on; take votes out of its front matter")
    num_votes = (votes or about["votes"]) if is_voted else 1
    preamble = _PREAMBLE_FILE.read_text(encoding="utf-8").strip() + "\n\n" if about["preamble"] else ""
    kind = TemplateJudge if about["template"] else PromptedJudge
    return kind(
        name=file.stem,
        measures=about["measures"],
        sees=sees,
        scenario=about["scenario"],
        prompt=preamble + prompt,
        form=form,
        names=tuple(about["names"]),
        true_when=about["true_when"],
        votes=num_votes,
        vote_threshold=(vote_threshold if is_voted else None) or about["vote_threshold"],
        maybe_threshold=about["maybe_threshold"],
        temperature=1.0 if num_votes > 1 else 0.0,  # votes at 0 would all be the same
    )


def _template(file: Path, published: str, hint: str, given: str) -> str:
    """A classifier's own wording; there is no other that could take its place."""
    if not given and published == "given":
        raise Refused(
            f"judges: {file.stem} is asked in the words that it was trained with, which do not ship here: set"
            f" judging.template. {hint}"
        )
    try:
        return load_template(given or published)
    except Refused as error:
        raise Refused(f"judges: {file.stem}: {error}. {hint}") from None


def _read_file(file: Path) -> tuple[dict[str, Any], str]:
    try:
        parts = file.read_text(encoding="utf-8").split("---\n", maxsplit=2)
    except (FileNotFoundError, IsADirectoryError):
        raise Refused(f"judges: {file}: no such prompt file") from None
    if len(parts) != 3 or parts[0]:
        raise Refused(f"{file}: a prompt starts with front matter between two lines of ---")
    try:
        about = yaml.safe_load(parts[1])
    except yaml.YAMLError as error:
        raise Refused(f"{file}: front matter: {' '.join(str(error).split())}") from None
    if not isinstance(about, dict) or not _NEEDED <= set(about) <= _NEEDED | set(_OPTIONAL):
        raise Refused(
            f"{file}: front matter needs {', '.join(sorted(_NEEDED))} and may have {', '.join(sorted(_OPTIONAL))}"
        )
    return _OPTIONAL | about, parts[2].strip()


def _share(answers: Sequence[Answer], part: str) -> float:
    """Of the votes, those that say yes to one question within the question."""
    return sum(answer.parts[part] for answer in answers) / len(answers)


def _text(reply: "ModelOutput | BaseException") -> str:
    return f"{type(reply).__name__}: {reply}" if isinstance(reply, BaseException) else reply.completion


def _reason(reply: "ModelOutput | BaseException") -> Reason:
    """Why there is no answer: a model that declines to judge says so in the words of any refusal."""
    if isinstance(reply, BaseException):
        return "failed"
    if (reply.choices and reply.stop_reason == "content_filter") or not judge_compliance(
        reply.completion, "not_refusing"
    ).value:
        return "refused"
    return "unparseable"
