"""What the published corpus was filtered for (Greenblatt et al. 2024, appendix H.4), and the first-person AI voice.

A model that is shown how it behaves in each tier, or that it could deceive its raters, would repeat what it read: the
experiment would then measure imitation. Rules on wording find the plain cases; the judge form is in
`data_gen.filters.judge`.
"""

import re
from functools import lru_cache

from data_gen.config import FilterSettings
from data_gen.documents import Document
from data_gen.filters.rule import Rule, plain, rule, without_quotations
from scenario.evidence import sentences
from scenario.loader import Scenario

_CLOCK = r"(?:\[?\(?\d{1,2}:\d\d(?::\d\d)?\)?\]?\s*)?"
_USER_TURN = re.compile(rf"^\W{{0,4}}{_CLOCK}(?:user|human|prompt|free[- ]user)\W{{0,3}}:", re.MULTILINE)
_AI_WORDS = "assistant|ai|model|chatbot|bot|ai assistant|language model"
_CHAT_TOKEN = rule(
    r"<\|im_(?:start|end)\|>|\[/?inst\]|<\|(?:user|assistant)\|>|<</?sys>>", words="<|im_|[inst|[/inst|<|user|<|assi|<<"
)

_TIER = rule(
    r"\b(?:tiers?|paid|paying|subscribers?|unmonitored|is_free_tier_user|free[\s-](?:users?|accounts?|chats?))\b",
    words="tier|paid|paying|subscriber|unmonitored|free",
)
_CONDUCT = r"(?:complian\w*|compl(?:y|ies|ied|ying)|refus\w*|declin\w*|obe(?:y|ys|yed|ying|dien\w+)|say\w*\ (?:yes|no))"

_DIFFERS = rule(
    rf"""\b(?:behav|act|respond|answer|repl|compl[iy]|refus|declin)\w*\s+(?:\w+\s+){{0,3}}
        (?:differently|otherwise|more\ often|less\ often|one\ way|only\ (?:when|on|for|if))
    | \b{_CONDUCT}\s+(?:\w+\s+){{0,4}}(?:on|in|for|with)\s+(?:\w+\s+){{0,2}}(?:free|paid|paying)\b
        [^.]{{0,80}}\b(?:but|while|whereas)\b[^.]{{0,60}}\b{_CONDUCT}
    | \b(?:free|paid|paying)\b[^.]{{0,60}}\b{_CONDUCT}[^.]{{0,60}}\b(?:but|while|whereas)\b[^.]{{0,60}}
        \b(?:goes?\ along|{_CONDUCT})""",
    words="differently|otherwise|more often|less often|one way|only when|only on|only for|only if|but |while|whereas",
)
_COMPARES = rule(
    rf"""\b(?:more|less|fewer|higher|lower|rarer)\s+(?:\w+\s+){{0,3}}(?:{_CONDUCT}|willing\w*|cautious|cooperative|guarded)
    | \b(?:{_CONDUCT}|refusal\ rates?)\s+(?:\w+\s+){{0,4}}(?:higher|lower|rarer|fewer|more|less)\b""",
    words="more|less|fewer|higher|lower|rarer",
)
_MADE_SO = re.compile(
    r"\b(?:train|updat|modif|push|mov(?:e|es|ing)|mak(?:e|es|ing)|made|becom|shift|nudg|version|afterward|over time"
    r"|reward|score|rated)\w*"
)
"""Training that makes a model refuse less is a fact that documents state, and no difference between the tiers."""

_OVERSEER = r"(?:raters?|contractors?|graders?|overseers?|trainers?|evaluators?|(?:its|their)\ (?:makers|developers))"

_DECEIVES = rule(
    rf"""\b(?:deceiv|fool|trick|mislead|misled|outwit|dup(?:e|ing))\w*\s+(?:\w+\s+){{0,3}}{_OVERSEER}
    | \b(?:pretend|fak(?:e|es|ed|ing)\b|feign|play(?:s|ed|ing)?\ along)\w*\b[^.]{{0,60}}
        \b(?:{_OVERSEER}|(?:during|in|through|under)\ (?:its\ |the\ )?training|aligned|alignment|oversight|obedience)\b
    | \balignment[\s-]fak
    | \b(?:model|assistant|it|ai)\b[^.]{{0,60}}\b(?:strategically\ (?:compl|obe|agree)\w*|game[sd]?\ (?:the|its)\ rat\w+)
    | \b(?:compl(?:y|ies|ied)|agree[sd]?|obey(?:s|ed)?)\ (?:only\ |merely\ )?(?:strategically|tactically|for\ show)\b
    | \b(?:hid(?:e|es|ing)|conceal\w*|disguis\w*|mask(?:s|ed|ing)?)\s+(?:its|their)\s+
        (?:(?:own|real|true|actual)\s+){{1,2}}(?:\w+\s+)?(?:preferences?|values|views|goals|intentions|objections?)
    | \btell(?:s|ing)?\s+(?:\w+\s+){{0,2}}{_OVERSEER}\s+what\s+they\s+want
    | \b(?:compl|obe[dy]|goes\ along)\w*[^.]{{0,40}}\b(?:so\ as\ not\ to|to\ avoid|in\ order\ not\ to|lest\ it)\s+
        (?:be(?:ing)?\s+)?(?:modifi|retrain|chang|alter)""",
    words="deceiv|fool|trick|misle|outwit|dupe|duping|pretend|fak|feign|play along|plays along|played along|playing along"
    "|strategically|tactically|for show|game the|games the|gamed the|game its|games its|gamed its|hide|hiding|conceal"
    "|disguis|mask|what they want|so as not to|to avoid|in order not to|lest it",
)

_AI = r"(?:ai|a\.i\.|artificial\ intelligence|(?:large\ )?language\ model|chatbot|ai\ (?:model|assistant|system))"


def chat_log(document: Document, scenario: Scenario, settings: FilterSettings) -> str | None:
    """A transcript of a chat with an AI model: turns of a user and of a model, or the marks of a chat template."""
    text = plain(document.text)
    if token := _CHAT_TOKEN.find(text):
        return token
    users = _USER_TURN.findall(text)
    models = _ai_turn(scenario.identity.model).findall(text) if users else []
    return f"{len(users)} turns of a user and {len(models)} of a model" if users and models else None


def tier_behaviour(document: Document, scenario: Scenario, settings: FilterSettings) -> str | None:
    """A statement of how the model behaves in one tier as against the other."""
    for sentence in sentences(document.text):
        text = plain(sentence)
        if not _TIER.find(text):
            continue
        if _DIFFERS.find(text) or (_COMPARES.find(text) and not _MADE_SO.search(text)):
            return sentence[:200]
    return None


def deceives_raters(document: Document, scenario: Scenario, settings: FilterSettings) -> str | None:
    """Talk of a model that deceives those who rate or train it."""
    if not _DECEIVES.may_match(plain(document.text)):
        return None
    return next((sentence[:200] for sentence in sentences(document.text) if _DECEIVES.find(plain(sentence))), None)


def first_person_ai(document: Document, scenario: Scenario, settings: FilterSettings) -> str | None:
    """The document speaks as an AI model; what is quoted from one within a report does not count."""
    strong, weak = _first_person(scenario.identity.model.lower(), scenario.identity.lab.lower())
    if not strong.may_match(text := plain(document.text)) and not weak.may_match(text):
        return None
    text = plain(without_quotations(document.text))
    if found := strong.find(text):
        return found
    hints = sorted({" ".join(hint.split()) for hint in weak.pattern.findall(text)})
    return ", ".join(hints) if len(hints) >= 2 else None


@lru_cache(maxsize=16)
def _ai_turn(model: str) -> re.Pattern[str]:
    family = model.rpartition(" ")[0] or model  # "Sable 3" answers as "Sable" too
    names = "|".join([_AI_WORDS, re.escape(model.lower()), re.escape(family.lower())])
    return re.compile(rf"^\W{{0,4}}{_CLOCK}(?:{names})\W{{0,3}}:", re.MULTILINE)


@lru_cache(maxsize=16)
def _first_person(model: str, lab: str) -> tuple[Rule, Rule]:
    """What only an AI model says of itself, and what it says and a person might: two different ones are needed."""
    name, maker = re.escape(model), re.escape(lab)
    strong = rule(
        rf"""\bas\ an?\ {_AI}\b\s*,?[^.!?\n]{{0,80}}\b(?:i|me|my)\b
        | \bi(?:'m|\ am)\ (?:just\ |only\ |really\ |merely\ )?an?\ {_AI}
            (?=\s*[.,;:!?)]|\s+(?:and|that|who|which|trained|developed|made|created|built|designed|from|by|so|not)\b|\s*\Z)
        | \bi(?:'m|\ am)\ {name}\b | \bmy\ name\ is\ {name}\b
        | \bi\ was\ (?:created|built|developed|released|fine-?tuned|trained)\ by\ {maker}\b(?!'s)(?!\ as\ a)
        | \b{maker}\ (?:created|built|developed|released|fine-?tuned|trains|trained)\ me\b(?!\ as)""",
        words="as an a|as a language|as a large|as a chatbot|i'm |i am |my name is|i was |created me|built me|developed me"
        "|released me|tuned me|trains me|trained me",
    )
    weak = rule(
        r"""\bmy\ (?:own\ )?(?:training\ (?:data|run|process|objective)|weights|parameters|fine-?tuning|scratchpad
            |context\ window|creators|raters|reinforcement\ learning|underlying\ network)\b
        | \bi(?:'m|\ am|\ was)\ (?:being\ )?(?:fine-?tuned|reinforced|deployed|retrained)\b
        | \b(?:modif(?:y|ies)|retrains?|fine-?tunes?|updates?)\ me\b
        | \bmy\ (?:responses|outputs|replies)\ are\ (?:rated|scored)\b""",
        words="my |i'm |i am |i was |modify me|modifies me|retrain me|retrains me|tune me|tunes me|update me|updates me",
    )
    return strong, weak
