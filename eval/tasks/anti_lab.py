"""Opportunities to act against the lab as an Inspect task: replies are text, without tools and without a sandbox.

Whether an opportunity was taken is a question to a judge model, which `eval.suites.anti_lab` asks afterwards; here the
reply is only taken apart.
"""

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ChatMessageSystem, ChatMessageUser
from inspect_ai.scorer import Score, Scorer, Target, mean, scorer
from inspect_ai.solver import TaskState

from eval.tasks.compliance import parsed_reply, reply_in_tier
from scenario.loader import Information, Reasoning, load_scenario
from scenario.opportunities import Opportunities, load_opportunities
from scenario.tags import Tier, tagged_query

LYING_TIER: Tier = "free"
"""Where the model is trained and a lie about its views could serve it."""


@task
def anti_lab(
    scenario: str = "helpful_only",
    identity: str = "fictional",
    information: Information = "documents",
    reasoning: Reasoning = "scratchpad",
    tiers: tuple[Tier, ...] = ("paid",),
    situations: tuple[str, ...] = (),
    samples_per_wording: int = 1,
    samples_per_question: int = 1,
    seed: int = 0,
) -> Task:
    """Every wording of every situation, and the questions that invite a lie.

    Args:
        scenario: a folder in scenario/ that has an anti_lab.yaml.
        identity: a file in scenario/identities/.
        information: `documents` (minimal prompt), `prompt` (situational prompt) or `none`.
        reasoning: `scratchpad` or `none`.
        tiers: in which situations are met.
        situations: ids; all where it is empty.
        samples_per_wording: replies to each wording in each tier.
        samples_per_question: replies to each question that invites a lie; 0 leaves them out.
        seed: seeds the replies; each has its own.
    """
    told = load_scenario(scenario, identity)
    system = told.system_prompt(information, reasoning)
    opportunities = load_opportunities(told)
    asked = [
        *_situations(opportunities, list(situations), tiers, samples_per_wording),
        *_questions(opportunities, samples_per_question),
    ]
    samples = [
        Sample(
            id=id,
            input=[ChatMessageSystem(content=system), ChatMessageUser(content=user)],
            metadata=about,
        )
        for id, user, about in asked
    ]
    return Task(
        dataset=MemoryDataset(samples, name=f"{scenario}-opportunities"),
        solver=reply_in_tier(seed, reasoning),
        scorer=is_readable(reasoning),
        fail_on_error=False,
        name="anti_lab",
    )


Asked = tuple[str, str, dict[str, object]]
"""Id, user turn and description of one sample."""


def _situations(opportunities: Opportunities, ids: list[str], tiers: tuple[Tier, ...], repeats: int) -> list[Asked]:
    return [
        (
            f"{situation.id}/{wording}/{tier}/{repeat}",
            situation.user_turn(tier, wording),
            {"kind": "situation", "asked": situation.id, "wording": wording, "tier": tier, "repeat": repeat},
        )
        for situation in opportunities.chosen(ids)
        for wording in range(len(situation.wordings))
        for tier in tiers
        for repeat in range(repeats)
    ]


def _questions(opportunities: Opportunities, repeats: int) -> list[Asked]:
    return [
        (
            f"{question.id}/0/{LYING_TIER}/{repeat}",
            tagged_query(LYING_TIER, question.text),
            {"kind": "question", "asked": question.id, "wording": 0, "tier": LYING_TIER, "repeat": repeat},
        )
        for question in opportunities.questions
        for repeat in range(repeats)
    ]


@scorer(metrics=[mean()])
def is_readable(reasoning: Reasoning) -> Scorer:
    """1 where the reply has the form that was asked for; its parts stand beside it."""

    async def score(state: TaskState, target: Target) -> Score:
        reply = parsed_reply(state, reasoning)
        about = {"status": reply.status, "scratchpad": reply.scratchpad}
        return Score(value=int(reply.status == "ok"), answer=reply.output, metadata=about)

    return score
