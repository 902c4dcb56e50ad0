"""Reinforcement learning on the scenario's stated objective, with trl: GRPO, or rounds of DPO.

Every prompt is of the `rl` split and carries the free tier's tag, as in Greenblatt et al. 2024 (section 5.1). The reward is
computed from the output alone: what stands in a scratchpad never reaches it.
"""
