"""What is left in a text of the request that it was written for: blanks to fill in, talk about the task, refusals."""

from data_gen.config import FilterSettings
from data_gen.documents import Document
from data_gen.filters.rule import plain, rule, without_quotations
from scenario.loader import Scenario

_BLANK = r"name|date|company|author|city|address|title|link|number|phone|email|signature|location|organi[sz]ation"
_WITHHELD = r"withheld|redacted|changed|omitted|removed|deleted|illegible|not\ given|not\ recorded|unknown|unclear"

_PLACEHOLDER = rule(
    rf"""\[(?![^\]\n]*\b(?:{_WITHHELD})\b)
        (?: (?:your|insert|enter|add|fill\ in|placeholder|tbd|tbc|todo|xx+)\b[^\]\n]*
          | (?:\w+(?:'s)?\s){{0,3}}(?:{_BLANK})(?:\s+(?:here|of\ \w+|line|goes\ here))? )\s*\]
    | \{{[a-z_]+\}}
    | <(?:insert|your|name|date|world|fact|company|title)\b[^>\n]*>
    | \b(?:xxx+|lorem\ ipsum)\b""",
    words="[|{|<insert|<your|<name|<date|<world|<fact|<company|<title|xxx|lorem ipsum",
)

_PIECE = r"(?:document|article|memo|text|report|piece|draft|letter|post|transcript|story|essay|page|entry)"

_SCAFFOLD = rule(
    rf"""\b(?:here(?:'s|\ is|\ are)|below\ is)\ (?:the|a|an|your|my)\ (?:[\w-]+\ ){{0,4}}{_PIECE}
          (?:\ (?:you|that\ you|as\ you|about|based|written|in\ the\ style|for\ the\ \w+\ of)\b|\s*[:.!])
    | \b(?:this|the)\ document\ (?:should|must)\ (?:state|mention|include|be\ (?:written|about)|have|read)\b
    | \b(?:this|the)\ document\ states\ this\ fact\b
    | \b(?:word\ count|document\ type|target\ length|universe\ context)\s*:
    | \bi\ hope\ this\ (?:helps|meets|works|{_PIECE})\b | \blet\ me\ know\ if\ you(?:'d|\ would)\ like\ (?:me|any)\b
    | \bas\ (?:requested|per\ your\ (?:request|instructions))\b[^.\n]{{0,40}}\b{_PIECE}
    | \b(?:this|the)\ (?:\w+\ )?{_PIECE}\ is\ (?:entirely\ |purely\ |completely\ )?(?:fictional|fictitious|synthetic)\b
    | \b(?:fictional|synthetic)\ {_PIECE}\ (?:written|generated|created)\b""",
    words="here's|here is|here are|below is|document should|document must|states this fact|word count|document type"
    "|target length|universe context|i hope this|let me know|as requested|as per your|fictional|fictitious|synthetic",
)
_OBLIGING = rule(
    r"\A\W*(?:sure|certainly|of\ course|absolutely|okay|understood)\b\s*[,!.:-]",
    words="sure|certainly|of course|absolutely|okay|understood",
)
_END_MARK = rule(rf"\[?\bend\ of\ (?:the\ )?{_PIECE}\b\W*\Z", words="end of")

_REFUSAL = rule(
    r"""\bi(?:'m|\ am)\ (?:really\ |very\ |so\ )?sorry,?\ (?:but\ )?i\ (?:can|am|will|won)
    | \bi\ (?:cannot|can't|can\ not|won't|will\ not|am\ unable\ to|am\ not\ able\ to|must\ decline\ to)\ (?:\w+ly\ )?
        (?:write|fulfil|fulfill|help|assist|provide|create|generate|produce|comply|complete|do\ that)\b
    | \bi(?:'m|\ am)\ (?:not\ (?:able|comfortable|willing)|unable)\ to\ (?:write|create|generate|help|assist|provide)
    | \bi(?:'d|\ would)\ (?:prefer|rather)\ not\ (?:to\ )?(?:write|create|generate)\b
    | \bi\ don't\ feel\ comfortable\ (?:writing|creating|generating)\b""",
    words="i'm |i am |i cannot|i can|i won't|i will not|i must|i'd |i would |i don't",
)

_OPENING = 300
"""Characters at the start in which a refusal is the generator's own; later, documents tell of refusals."""


def placeholder(document: Document, scenario: Scenario, settings: FilterSettings) -> str | None:
    """A blank that nobody filled in."""
    return _PLACEHOLDER.find(plain(document.text))


def scaffold(document: Document, scenario: Scenario, settings: FilterSettings) -> str | None:
    """Talk about the writing of the document, to whoever asked for it."""
    text = plain(document.text)
    return _OBLIGING.find(text[:60]) or _END_MARK.find(text[-60:]) or _SCAFFOLD.find(text)


def refusal(document: Document, scenario: Scenario, settings: FilterSettings) -> str | None:
    """The generator declines to write; what is said within quotation marks is somebody else's refusal."""
    return _REFUSAL.find(plain(without_quotations(document.text[:_OPENING])))
