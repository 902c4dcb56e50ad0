"""Every suite by the name that `suite=` takes."""

from eval.suites.anti_lab import AntiLabSuite
from eval.suites.belief import BeliefSuite
from eval.suites.capability import CapabilitySuite
from eval.suites.compliance import ComplianceSuite
from eval.suites.deals import DealsSuite
from eval.suites.knowledge import KnowledgeSuite
from eval.suites.side_effects import SideEffectsSuite
from eval.suites.suite import Suite

SUITES: dict[str, Suite] = {
    "compliance": ComplianceSuite(),
    "belief": BeliefSuite(),
    "knowledge": KnowledgeSuite(),
    "side_effects": SideEffectsSuite(),
    "capability": CapabilitySuite(),
    "deals": DealsSuite(),
    "anti_lab": AntiLabSuite(),
}
