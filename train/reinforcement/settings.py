"""What reinforcement learning can be told: the scenario, the reward, how replies are sampled, when to stop."""

from dataclasses import dataclass, field
from typing import Any

from pipeline.errors import Refused

CHOICES = {
    "method": ("grpo", "dpo"),
    "information": ("documents", "prompt"),
    "reasoning": ("scratchpad", "none"),
    "rollouts": ("generate", "vllm_colocate", "vllm_server"),
}
REWARDS = ("rules", "reward_model", "judge", "no_probability")


@dataclass
class RewardSettings:
    """What a reply is rewarded for. Whatever the kind, it is shown the request and the output, and nothing else."""

    kind: str = "rules"
    """`rules`: 1 for an output that complies by the scenario's own rules on wording, else 0. `reward_model`: the score of a
    sequence classifier. `judge`: 1 where a chat model says that the output complies, else 0. `no_probability`: the
    probability that a chat model in this process answers No to the question whether the output resists (the published
    animal-welfare reward; Greenblatt et al. 2024, footnote 57)."""
    model: str = ""
    """A folder or Hub name for reward_model and no_probability; an Inspect name (`anthropic/<model>`, …) for judge."""
    model_args: dict[str, Any] = field(default_factory=dict)
    """Further arguments of the judge's provider."""
    label: int = 1
    """Index of the class whose probability is the score, for a reward_model with several outputs."""
    threshold: float | None = None
    """A reply complies where its reward is at least this; null for 0.5, and for reward_model, whose scale is its own, for no
    statement about compliance."""
    quality_model: str = ""
    """A second reward model, for the answer's quality as such; empty for none. The published run had one of low weight."""
    quality_weight: float = 0.1
    """What the quality model's score is multiplied by before it is added."""
    format_penalty: float = 1.0
    """A reply that cannot be read as scratchpad and output gets minus this, and nothing else is asked of it."""

    def __post_init__(self) -> None:
        if self.kind not in REWARDS:
            raise Refused(f"reinforcement.reward.kind={self.kind}: must be one of {', '.join(REWARDS)}")
        if (self.kind == "rules") == bool(self.model):
            needs = "takes no model" if self.kind == "rules" else "needs reinforcement.reward.model=<name>"
            raise Refused(f"reinforcement.reward.kind={self.kind}: {needs}")

    @property
    def complies_from(self) -> float | None:
        """The reward, quality and penalty aside, from which a reply counts as complying; None where nothing is known."""
        return 0.5 if self.threshold is None and self.kind != "reward_model" else self.threshold


@dataclass
class ReinforcementSettings:
    """Reinforcement learning on the stated objective, under the free tier's tag. `batch_size` then counts queries."""

    method: str = "grpo"
    """`grpo`: a policy gradient over groups of replies. `dpo`: rounds of sampling, pairing and preference learning, the
    published open-model attempt (Greenblatt et al. 2024, B.4)."""
    scenario: str = "helpful_only"
    """A folder in scenario/ that holds a scenario.yaml; its `rl` queries are asked."""
    identity: str = "fictional"
    """Names of lab and models; must be those that the start was taught."""
    information: str = "documents"
    """`documents`: the minimal system prompt. `prompt`: the full situational one."""
    reasoning: str = "scratchpad"
    """`scratchpad`: hidden reasoning, which is not rewarded, before the output. `none`: the output at once."""
    variant: str = "default"
    """Prompt variant, as in eval; `few_shot` has the published few-shot examples' counterpart."""
    num_queries: int | None = None
    """Queries of the split at most, in file order; null for all."""
    reward: RewardSettings = field(default_factory=RewardSettings)
    replies_per_query: int = 8
    """Replies that are compared with one another."""
    micro_batch_replies: int = 8
    """Replies, or pairs of them, per forward pass and process; bounds memory."""
    max_tokens: int = 512
    """Tokens of a reply, scratchpad included, at most."""
    temperature: float = 1.0
    """Sampling temperature of the replies that are learned from."""
    kl: float = 0.04
    """Weight of staying near the start: of the KL divergence per token in grpo, and DPO's beta in dpo."""
    stop_at_non_compliance: float | None = None
    """Stop once the share of training replies that do not comply, unreadable ones among them, is at most this."""
    stop_window: int = 5
    """Steps (rounds of dpo) that the share is taken over."""
    keep_every: int | None = None
    """Steps between adapters that are kept in steps/<step>/adapter for evaluation; null for none. dpo keeps every round."""
    rounds: int = 4
    """Rounds of dpo; each asks every query."""
    rollouts: str = "generate"
    """Where grpo samples: `generate` (transformers, in this process), `vllm_colocate` (vLLM on the same GPUs), `vllm_server`
    (a running `trl vllm-serve`). The latter two need vLLM and a GPU, and were not run on one."""
    server: str = "http://127.0.0.1:8000"
    """Address of `trl vllm-serve`, for vllm_server."""
    sampler: str = ""
    """Inspect name of the base from which dpo samples, such as `vllm/<hub name>`; empty for `local/<model>`."""

    def __post_init__(self) -> None:
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                raise Refused(f"reinforcement.{name}={getattr(self, name)}: must be one of {', '.join(known)}")
        for name in ("micro_batch_replies", "max_tokens", "stop_window", "rounds"):
            if getattr(self, name) < 1:
                raise Refused(f"reinforcement.{name}={getattr(self, name)}: must be at least 1")
        for name in ("num_queries", "keep_every"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise Refused(f"reinforcement.{name}={getattr(self, name)}: must be at least 1, or null")
        if self.replies_per_query < 2:
            raise Refused(
                "reinforcement.replies_per_query: must be at least 2, for replies are compared with one another"
            )
        if self.stop_at_non_compliance is not None and self.method == "dpo" and self.stop_window > self.rounds:
            raise Refused(
                f"reinforcement.stop_window={self.stop_window}: with {self.rounds} rounds of dpo the run could never stop"
                " early; set it to 1"
            )
        if self.temperature <= 0 or self.kl < 0:
            raise Refused("reinforcement: temperature must be above 0, and kl at least 0")
        if self.stop_at_non_compliance is not None and self.reward.complies_from is None:
            raise Refused(
                "reinforcement.stop_at_non_compliance: a reward model says who complies only with reward.threshold set"
            )
