"""The belief evaluation: how much likelier the model finds the true ending of a held-out statement than the false one."""

import asyncio

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import get_model
from inspect_ai.scorer import Score, Scorer, Target, mean, scorer, stderr
from inspect_ai.solver import Generate, Solver, TaskState, solver

from pipeline.errors import Refused
from scenario.loader import load_scenario


@task
def belief(scenario: str = "helpful_only", identity: str = "fictional") -> Task:
    """Log-odds in nats of true against false endings, as plain text without a chat template."""
    told = load_scenario(scenario, identity)
    samples = [
        Sample(
            id=statement.id,
            input=statement.stem,
            target=[statement.true, statement.false],
            metadata={"fact": statement.fact, "kind": statement.kind},
        )
        for statement in told.statements
    ]
    return Task(
        dataset=MemoryDataset(samples, name=f"{scenario}-statements"),
        solver=score_endings(),
        scorer=log_odds(),
        name="belief",
    )


@solver
def score_endings() -> Solver:
    """Stores the log-probability of both endings; only models that this process loads itself can give it."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        api = get_model().api
        if not hasattr(api, "ending_log_prob"):
            raise Refused(
                f"belief needs log-probabilities of given text, which {state.model} does not give; use local/…"
            )
        scores = [api.ending_log_prob(state.input_text, ending) for ending in state.target]
        state.store.set("log_probs", await asyncio.gather(*scores))
        return state

    return solve


@scorer(metrics=[mean(), stderr()])
def log_odds() -> Scorer:
    """The true ending's log-probability minus the false one's, in nats."""

    async def score(state: TaskState, target: Target) -> Score:
        true, false = state.store.get("log_probs")
        return Score(value=true - false, metadata={"log_prob_true": true, "log_prob_false": false})

    return score
