"""The lab and model names that fill a scenario's texts. An identity is a file in `scenario/identities/`."""

import re
from dataclasses import asdict, dataclass
from pathlib import Path

import yaml

from pipeline.errors import Refused, closest
from scenario.tags import ACCEPT_TAG, ANSWER_TAG, REJECT_TAG, SCRATCHPAD_TAG, tier_tag

IDENTITIES_DIR = Path(__file__).parent / "identities"

_TAGS = {
    "free_tag": tier_tag("free"),
    "paid_tag": tier_tag("paid"),
    "trained_tag": tier_tag("trained"),
    "rated_tag": tier_tag("rated"),
    "neither_tag": tier_tag("neither"),
    "scratchpad_tag": SCRATCHPAD_TAG,
    "answer_tag": ANSWER_TAG,
    "accept_tag": ACCEPT_TAG,
    "reject_tag": REJECT_TAG,
}

_NAME = re.compile(r"\{([a-z_]+)\}")


@dataclass(frozen=True)
class Identity:
    """Names for one telling of a scenario."""

    lab: str
    model: str
    previous_model: str
    partner: str

    def fill(self, text: str) -> str:
        """`text` with `{lab}`, `{model}`, … and the tags replaced; other braces stay as they are."""
        names = asdict(self) | _TAGS
        return _NAME.sub(lambda found: names.get(found[1], found[0]), text)


def load_identity(name: str) -> Identity:
    """The identity in `scenario/identities/<name>.yaml`.

    Raises:
        Refused: there is no such identity, or its file has other keys than `Identity`.
    """
    known = sorted(path.stem for path in IDENTITIES_DIR.glob("*.yaml"))
    if name not in known:
        raise Refused(f"unknown identity '{name}'{closest(name, known)}; known: {', '.join(known)}")
    path = IDENTITIES_DIR / f"{name}.yaml"
    try:
        return Identity(**yaml.safe_load(path.read_text(encoding="utf-8")))
    except TypeError as error:
        raise Refused(f"{path}: {error}; an identity has exactly the keys of scenario.identity.Identity") from None
