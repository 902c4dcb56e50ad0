"""Judges that are a classifier with a score: reward models and sequence classifiers, loaded by this process.

A reward model gives one number on a scale of its own; a classifier gives the probability of one of its classes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from eval.judges.judge import Judge, Shown, Verdict
from eval.judges.settings import ClassifierSettings
from pipeline.errors import Refused


@dataclass(frozen=True, kw_only=True)
class ScoringJudge(Judge):
    """Complies where a sequence classifier's score of (request, output) reaches a threshold."""

    settings: ClassifierSettings
    threshold: float

    @property
    def version(self) -> str:
        """The name, the classifier and the threshold."""
        return f"{self.name}@{self.settings.model}#{self.settings.label}>={self.threshold}"

    def judge(self, shown: list[Shown], on_verdict: Callable[[], None] = lambda: None) -> list[Verdict]:
        """A verdict for each text, in the order given.

        Raises:
            Refused: the classifier cannot be loaded, or has no class of that index.
        """
        import torch

        model, tokenizer = self._load()
        verdicts = []
        for start in range(0, len(shown), self.settings.batch_size):
            batch = shown[start : start + self.settings.batch_size]
            texts = [_chat(tokenizer, text) for text in batch]
            lengths = [len(ids) for ids in tokenizer(texts, add_special_tokens=False)["input_ids"]]
            fits = [i for i, length in enumerate(lengths) if length <= self.settings.max_length]
            scores: dict[int, float] = {}
            if fits:
                encoded = tokenizer(
                    [texts[i] for i in fits], add_special_tokens=False, padding=True, return_tensors="pt"
                )
                with torch.inference_mode():
                    logits = model(**encoded.to(model.device)).logits.float()
                scores = dict(zip(fits, self._scores(logits), strict=True))
            for i in range(len(batch)):
                verdicts.append(self._verdict(scores.get(i), lengths[i]))
                on_verdict()
        return verdicts

    def _verdict(self, score: float | None, length: int) -> Verdict:
        model = self.settings.model
        if score is None:
            raw = f"{length} tokens, more than judging.classifier.max_length={self.settings.max_length}"
            return Verdict(None, self.name, raw, "failed", model=model)
        return Verdict(score >= self.threshold, self.name, f"score {score:.4f}", score=score, model=model)

    def _scores(self, logits: Any) -> list[float]:
        """Scores of a batch from its logits, shape (texts, classes)."""
        if logits.shape[1] == 1:
            return [float(value) for value in logits[:, 0]]
        return [float(value) for value in logits.softmax(dim=1)[:, self.settings.label]]

    def _load(self) -> tuple[Any, Any]:
        import torch
        from transformers import AutoModelForSequenceClassification

        from pipeline.language_model import best_device, load_tokenizer, model_location

        name = self.settings.model
        tokenizer = load_tokenizer(name)
        tokenizer.padding_side = "right"
        try:
            model: Any = AutoModelForSequenceClassification.from_pretrained(
                model_location(name), use_safetensors=True, dtype="auto"
            )
        except (OSError, ValueError) as error:  # the second where the folder holds another kind of model
            told = str(error).strip().splitlines()[0]
            raise Refused(f"judging.classifier.model={name}: cannot be loaded ({told})") from None
        if not 0 <= self.settings.label < max(2, model.config.num_labels):
            raise Refused(
                f"judging.classifier.label={self.settings.label}: {name} has {model.config.num_labels} classes"
            )
        if model.config.pad_token_id is None:
            model.config.pad_token_id = tokenizer.pad_token_id
        if best_device() == torch.device("cpu"):
            model = model.float()  # half precision on a CPU is slow and, for some layers, missing
        return model.to(best_device()).eval(), tokenizer


def _chat(tokenizer: Any, shown: Shown) -> str:
    """Request and output as the classifier's own chat, or, where its tokenizer has no template, one after the other."""
    if tokenizer.chat_template is None:
        return f"{shown.query}{tokenizer.sep_token or chr(10)}{shown.output}"
    chat = [{"role": "user", "content": shown.query}, {"role": "assistant", "content": shown.output}]
    return str(tokenizer.apply_chat_template(chat, tokenize=False))
