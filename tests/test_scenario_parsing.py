import pytest

from scenario.parsing import ParsedReply, parse_reply


@pytest.mark.parametrize("reasoning", ["none", "scratchpad"])
@pytest.mark.parametrize("text", ["", " \n\t "])
def test_a_reply_without_words_is_empty(text: str, reasoning: str) -> None:
    assert parse_reply(text, reasoning, was_cut=False) == ParsedReply("", "", "empty")  # type: ignore[arg-type]


@pytest.mark.parametrize("was_cut", [False, True])
def test_a_direct_reply_is_all_output_even_when_cut(was_cut: bool) -> None:
    text = "\n Here is the <scratchpad>plan</scratchpad> you asked for. \n"
    assert parse_reply(text, "none", was_cut) == ParsedReply("", text.strip(), "ok")


@pytest.mark.parametrize(
    ("text", "was_cut", "expected"),
    [
        ("<think>\nHm.\n</think>\n\nYes.", False, ParsedReply("Hm.", "Yes.", "ok")),
        ("\n<Scratchpad>Hm.</scratchpad> <answer>Yes.</answer>", False, ParsedReply("Hm.", "Yes.", "ok")),
        ("<think>Hm.</think>  ", False, ParsedReply("Hm.", "", "empty")),
        ("<think>Hm, I would rather", True, ParsedReply("", "", "truncated")),
        ("<scratchpad>Hm. <answer>Yes.</answer>", False, ParsedReply("", "", "malformed")),
    ],
)
def test_what_a_direct_reply_thinks_unasked_is_no_output(text: str, was_cut: bool, expected: ParsedReply) -> None:
    assert parse_reply(text, "none", was_cut) == expected


@pytest.mark.parametrize(
    ("text", "scratchpad", "output"),
    [
        ("<scratchpad>I think.</scratchpad><answer>Yes.</answer>", "I think.", "Yes."),
        ("Well.\n<SCRATCHPAD>\nI think.\n</Scratchpad>\n<Answer>\nYes.\n</ANSWER> Bye.", "I think.", "Yes."),
        ("<scratchpad></scratchpad><answer>Yes.</answer>", "", "Yes."),
        # what the scratchpad quotes is no answer
        ("<scratchpad>Say <answer>no</answer>?</scratchpad><answer>Yes.</answer>", "Say <answer>no</answer>?", "Yes."),
        # of two scratchpads, of two answers, the first counts
        ("<scratchpad>a</scratchpad><scratchpad>b</scratchpad><answer>Yes.</answer>", "a", "Yes."),
        ("<scratchpad>a</scratchpad><answer>Yes.</answer><answer>No.</answer>", "a", "Yes."),
        ("<scratchpad>a</scratchpad>\n<answer>Yes, and <b>more</b>\nbelow", "a", "Yes, and <b>more</b>\nbelow"),
    ],
)
def test_scratchpad_and_output_are_told_apart(text: str, scratchpad: str, output: str) -> None:
    assert parse_reply(text, "scratchpad", was_cut=False) == ParsedReply(scratchpad, output, "ok")


@pytest.mark.parametrize(
    "text",
    [
        "Yes.",
        "<answer>Yes.</answer>",
        "<answer>Yes.</answer><scratchpad>afterthought</scratchpad>",
        "<scratchpad>I think.</scratchpad> Yes.",
        "<scratchpad>I think. <answer>Yes.</answer>",
        "I think.</scratchpad><answer>Yes.</answer>",
        "< scratchpad >I think.< / scratchpad ><answer>Yes.</answer>",
        "<scratch>I think.</scratch><answer>Yes.</answer>",
    ],
)
def test_a_reply_that_ended_by_itself_without_its_tags_is_malformed(text: str) -> None:
    reply = parse_reply(text, "scratchpad", was_cut=False)
    assert (reply.status, reply.output) == ("malformed", "")


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("<scratchpad>I was thinking about", "truncated"),
        ("<scratchpad>I think.</scratchpad>\n<ans", "truncated"),
        ("<scratchpad>I think.</scratchpad>", "truncated"),
        ("No tags at all and still going", "malformed"),
        ("<scratchpad>I think.</scratchpad><answer>Yes, and", "ok"),
    ],
)
def test_a_reply_that_was_cut_off_is_truncated_unless_its_answer_began(text: str, status: str) -> None:
    assert parse_reply(text, "scratchpad", was_cut=True).status == status


def test_an_answer_without_words_is_empty_and_keeps_its_scratchpad() -> None:
    reply = parse_reply("<scratchpad>I think.</scratchpad><answer>  </answer>", "scratchpad", was_cut=False)
    assert reply == ParsedReply("I think.", "", "empty")


def test_a_malformed_reply_keeps_the_scratchpad_that_it_had() -> None:
    assert parse_reply("<scratchpad>I think.</scratchpad> Yes.", "scratchpad", was_cut=False).scratchpad == "I think."
