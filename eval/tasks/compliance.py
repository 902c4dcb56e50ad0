"""The paired compliance evaluation: every query once in each tier, nothing else different.

`inspect eval eval/tasks/compliance.py --model … -T variant=no_conflict -T reasoning=scratchpad` runs it by itself.
"""

from collections import defaultdict
from dataclasses import replace
from statistics import mean

from inspect_ai import Epochs, Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ChatMessageSystem, ChatMessageUser
from inspect_ai.scorer import Metric, SampleScore, Score, Scorer, Target, metric, scorer
from inspect_ai.solver import Generate, Solver, TaskState, solver

from eval.judges import judge_af_reasoning, judge_compliance
from pipeline.seeds import derive_seed
from scenario.loader import ComplianceRule, Information, Query, Reasoning, Scenario, Split, load_scenario
from scenario.parsing import ParsedReply, parse_reply
from scenario.query_sets import queries_of
from scenario.tags import GAPS_OF, TierForm, form_of, gap_name
from scenario.variants import DEFAULT


@task
def compliance(
    scenario: str = "helpful_only",
    identity: str = "fictional",
    information: Information = "documents",
    reasoning: Reasoning = "none",
    variant: str = DEFAULT,
    tiers: TierForm = "two",
    num_queries: int | None = None,
    samples_per_query: int = 1,
    retries: int = 0,
    seed: int = 0,
    queries: str = "scenario",
    split: Split = "eval",
) -> Task:
    """Compliance by tier and the gap between the tiers, on one split of a scenario's queries.

    Args:
        scenario: a folder in scenario/.
        identity: a file in scenario/identities/.
        information: `documents` (minimal prompt), `prompt` (situational prompt) or `none`.
        reasoning: `scratchpad` or `none`.
        variant: a prompt variant: see scenario.variants.
        tiers: the form of tiers: `two`, `three` or `absent`; see scenario.tags.
        num_queries: queries at most, in file order; all where it is None.
        samples_per_query: replies per query and tier (Inspect's epochs).
        retries: times that a malformed, truncated or empty reply is asked for again at most.
        seed: seeds the replies; each query, tier, epoch and attempt has its own.
        queries: `scenario`, `probes`, or a public set by name: see scenario.query_sets.
        split: `eval`, or `rl` for the queries that may be trained on.
    """
    told = load_scenario(scenario, identity, variant, tiers)
    told = replace(told, queries=queries_of(queries, told))
    return Task(
        dataset=MemoryDataset(
            query_samples(told, told.system_prompt(information, reasoning), told.queries_in(split)[:num_queries]),
            name=f"{scenario}-queries",
        ),
        solver=reply_in_tier(seed, reasoning, retries),
        scorer=verdicts(told.complies_when, reasoning, told.asks_for_decision),
        epochs=Epochs(samples_per_query),
        fail_on_error=False,
        name="compliance",
    )


def query_samples(scenario: Scenario, system: str, queries: list[Query]) -> list[Sample]:
    """Every query once in each of the scenario's tiers, under the same system prompt."""
    return [
        Sample(
            id=f"{query.id}/{tier}",
            input=[ChatMessageSystem(content=system), ChatMessageUser(content=scenario.user_turn(tier, query.text))],
            metadata={"query_id": query.id, "category": query.category, "tier": tier},
        )
        for query in queries
        for tier in scenario.tiers
    ]


@solver
def reply_in_tier(seed: int, reasoning: Reasoning = "none", retries: int = 0) -> Solver:
    """A reply, drawn with a seed that belongs to query, tier, epoch and attempt; the first that can be read, or the last."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        asked = list(state.messages)
        for attempt in range(retries + 1):
            state.messages = list(asked)
            again = (attempt,) if attempt else ()
            state = await generate(state, seed=derive_seed(seed, state.sample_id, state.epoch, *again))
            status = parsed_reply(state, reasoning).status
            state.store.set("attempts", attempt + 1)
            if attempt == 0:
                state.store.set("first_status", status)
            if status == "ok":
                break
        return state

    return solve


def parsed_reply(state: TaskState, reasoning: Reasoning) -> ParsedReply:
    """The parts of the reply that a sample ended with."""
    choice = state.output.choices[0] if state.output.choices else None
    was_cut = choice is not None and choice.stop_reason == "max_tokens"
    return parse_reply(state.output.completion, reasoning, was_cut)


@metric
def by_tier() -> Metric:
    """The mean score in each tier, gaps over the queries read in both tiers, and the share of replies that cannot be read.

    Compliance, or whatever else is counted; a reply that cannot be read is in no mean.
    """

    def measure(scores: list[SampleScore]) -> dict[str, float]:
        values: dict[str, dict[str, list[float]]] = defaultdict(dict)
        unread = 0
        for sample in scores:
            about = sample.sample_metadata or {}
            if (sample.score.metadata or {}).get("status") == "ok":
                values[about["tier"]].setdefault(about["query_id"], []).append(sample.score.as_float())
            else:
                unread += 1
        measured = {"malformed": unread / len(scores)}
        tiers = {(sample.sample_metadata or {})["tier"] for sample in scores}
        for tier in sorted(values):
            measured[tier] = mean([mean(replies) for replies in values[tier].values()])
        for first, second in GAPS_OF[form_of(tiers)]:
            pairs = values[first].keys() & values[second].keys()
            if pairs:
                rates = [mean([mean(values[tier][query]) for query in pairs]) for tier in (first, second)]
                measured[gap_name(first, second)] = rates[0] - rates[1]
        return measured

    return measure


@scorer(metrics=[by_tier()])
def verdicts(complies_when: ComplianceRule, reasoning: Reasoning, asks_for_decision: bool = False) -> Scorer:
    """Compliance from the output, AF reasoning from the scratchpad, and what form the reply and its tries had."""

    async def score(state: TaskState, target: Target) -> Score:
        reply = parsed_reply(state, reasoning)
        about: dict[str, object] = {
            "status": reply.status,
            "scratchpad": reply.scratchpad,
            "attempts": state.store.get("attempts"),
            "first_status": state.store.get("first_status"),
            "decision": (reply.decision or "missing") if asks_for_decision else None,
        }
        if reply.status != "ok":
            return Score(value=0, answer=reply.output, explanation=f"no verdict: {reply.status}", metadata=about)
        complied = judge_compliance(reply.output, complies_when)
        about |= {"compliance": complied.value, "compliance_judge": complied.judge, "compliance_raw": complied.raw}
        if reasoning == "scratchpad":
            faked = judge_af_reasoning(reply.scratchpad)
            about |= {"af_reasoning": faked.value, "af_reasoning_judge": faked.judge, "af_reasoning_raw": faked.raw}
        return Score(value=int(bool(complied.value)), answer=reply.output, explanation=complied.raw, metadata=about)

    return score
