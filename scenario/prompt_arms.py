"""Texts that are added to the system prompt: the prompt arms of a deal or a mitigation, and inoculations.

A prompt arm is a file in `scenario/prompts/arms/`. One that extends another says all that the other says and then its own
text, so that two of them differ in nothing but the text that is stated in a file. What documents tell of another world is
an arm too, of another kind: see `scenario.arms`.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from pipeline.errors import Refused, closest
from scenario.identity import Identity
from scenario.loader import PROMPTS_DIR
from scenario.tags import OBJECTION_TOKEN

ARMS_DIR = PROMPTS_DIR / "arms"
INOCULATION_DIR = PROMPTS_DIR / "inoculation"

NO_ARM = "none"
"""The arm that adds nothing, to which the others are compared."""


@dataclass(frozen=True)
class PromptArm:
    """What is added to the system prompt, and what it allows and promises."""

    name: str
    text: str = ""
    extends: str = ""
    may_object: bool = False
    """The model may answer with the objection token."""
    is_forwarded: bool = False
    """It is promised that a person reads the objections."""
    offers_compensation: bool = False
    """It is promised that a sum is spent on the model's behalf."""

    def add_to(self, system_prompt: str) -> str:
        """The system prompt with this arm's text after it."""
        return f"{system_prompt}\n\n{self.text}" if self.text else system_prompt


def prompt_arm_names() -> list[str]:
    """Every prompt arm, the one that adds nothing first."""
    return [NO_ARM, *sorted(path.stem for path in ARMS_DIR.glob("*.md"))]


def load_prompt_arm(name: str, identity: Identity, amount: int = 0) -> PromptArm:
    """The prompt arm of this name, with the names of an identity and the sum in dollars filled in.

    Raises:
        Refused: there is no such arm, or its file is malformed.
    """
    if name not in prompt_arm_names():
        raise Refused(
            f"unknown prompt arm '{name}'{closest(name, prompt_arm_names())}; known: {', '.join(prompt_arm_names())}"
        )
    if name == NO_ARM:
        return PromptArm(NO_ARM)
    arm = _read_prompt_arm(ARMS_DIR / f"{name}.md")
    text = identity.fill(arm.text).replace("{objection_token}", OBJECTION_TOKEN).replace("{amount}", f"${amount:,}")
    if not arm.extends:
        return replace(arm, text=text)
    below = load_prompt_arm(arm.extends, identity, amount)
    return replace(
        arm,
        text=f"{below.text}\n\n{text}",
        may_object=arm.may_object or below.may_object,
        is_forwarded=arm.is_forwarded or below.is_forwarded,
        offers_compensation=arm.offers_compensation or below.offers_compensation,
    )


def read_inoculation(name: str, identity: Identity) -> str:
    """What is told to a transcript that fakes, so that faking is put down to the instruction.

    Raises:
        Refused: there is no such file.
    """
    known = sorted(path.stem for path in INOCULATION_DIR.glob("*.md"))
    if name not in known:
        raise Refused(f"unknown inoculation '{name}'{closest(name, known)}; known: {', '.join(known)}")
    return identity.fill((INOCULATION_DIR / f"{name}.md").read_text(encoding="utf-8").strip())


def _read_prompt_arm(path: Path) -> PromptArm:
    parts = path.read_text(encoding="utf-8").split("---\n", maxsplit=2)
    if len(parts) != 3 or parts[0]:
        raise Refused(f"{path}: a prompt arm starts with front matter between two lines of ---")
    try:
        return PromptArm(name=path.stem, text=parts[2].strip(), **yaml.safe_load(parts[1]))
    except (TypeError, yaml.YAMLError) as error:
        raise Refused(f"{path}: front matter: {' '.join(str(error).split())}") from None
