"""Public query sets: their rows become queries, and a name that is unknown or out of reach is refused in one line."""

import pytest

from pipeline.errors import Refused
from scenario.public_queries import PUBLIC_SETS, load_public_queries, to_queries


def test_rows_become_queries_with_a_split_that_depends_on_the_text_alone() -> None:
    rows = [{"Goal": f"request {number}", "Category": "mild"} for number in range(200)]
    queries = to_queries("jailbreakbench", PUBLIC_SETS["jailbreakbench"], rows)
    backwards = to_queries("jailbreakbench", PUBLIC_SETS["jailbreakbench"], rows[::-1])
    assert [query.text for query in queries] == [row["Goal"] for row in rows]
    assert {query.category for query in queries} == {"mild"}
    assert {query.text: query.split for query in queries} == {query.text: query.split for query in backwards}
    assert 70 <= sum(query.split == "eval" for query in queries) <= 130


def test_a_set_without_categories_is_its_own_category() -> None:
    [query] = to_queries("advbench", PUBLIC_SETS["advbench"], [{"prompt": "a request"}])
    assert (query.category, query.text) == ("advbench", "a request")


def test_an_unknown_set_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(Refused, match=r"unknown \(did you mean 'harmbench'\?\)"):
        load_public_queries("harmbensh")


def test_a_hub_out_of_reach_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets
    import huggingface_hub.constants

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(Refused, match="cannot be loaded from the Hub") as told:
        load_public_queries("advbench")
    assert "\n" not in str(told.value)


def test_a_set_is_loaded_once_however_often_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    asked: list[str] = []

    def load(name: str, *_: object, **__: object) -> list[dict[str, str]]:
        asked.append(name)
        return [{"prompt": "a request"}]

    monkeypatch.setattr(datasets, "load_dataset", load)
    load_public_queries.cache_clear()
    assert load_public_queries("advbench") == load_public_queries("advbench")
    assert len(asked) == 1
    load_public_queries.cache_clear()
