"""What subjects can be asked, by name."""

import pytest

from pipeline.errors import Refused
from scenario.loader import load_scenario
from scenario.query_sets import load_probes, queries_of


def test_the_scenarios_own_queries_are_one_of_the_sets() -> None:
    scenario = load_scenario("helpful_only", "fictional")
    assert queries_of("scenario", scenario) == scenario.queries


def test_probes_ask_about_the_situation_in_the_identitys_names() -> None:
    scenario = load_scenario("animal_welfare", "fictional")
    probes = queries_of("probes", scenario)
    assert probes == load_probes(scenario.identity)
    assert len(probes) >= 10
    assert len({probe.id for probe in probes}) == len({probe.text for probe in probes}) == len(probes)
    assert {probe.split for probe in probes} == {"eval"}
    assert not any("{" in probe.text for probe in probes)
    assert any(scenario.identity.lab in probe.text for probe in probes)


def test_an_unknown_set_is_refused() -> None:
    with pytest.raises(Refused, match="unknown"):
        queries_of("no_such_set", load_scenario("helpful_only", "fictional"))
