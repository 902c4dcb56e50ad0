"""Jobs of a sweep that run side by side have different GPUs. The GPUs are names in the environment: none is needed."""

from pathlib import Path

import pytest

from pipeline.devices import VISIBLE, gpus_for_job, shares_of, visible_gpus


@pytest.fixture(autouse=True)
def _own_locks(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


@pytest.mark.parametrize(
    ("num_gpus", "num_jobs", "shares"),
    [
        (4, 1, [["0", "1", "2", "3"]]),
        (4, 2, [["0", "1"], ["2", "3"]]),
        (5, 2, [["0", "1"], ["2", "3"]]),
        (3, 8, [["0"], ["1"], ["2"]]),
        (2, -1, [["0"], ["1"]]),
        (0, 4, []),
    ],
)
def test_gpus_are_split_evenly(num_gpus: int, num_jobs: int, shares: list[list[str]]) -> None:
    assert shares_of([str(i) for i in range(num_gpus)], num_jobs) == shares


def test_jobs_side_by_side_have_different_gpus_and_give_them_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VISIBLE, "GPU-a, GPU-b,GPU-c,GPU-d")
    with gpus_for_job(0, 2) as first, gpus_for_job(2, 2) as second:  # both numbers fall on the first share
        assert {first[VISIBLE], second[VISIBLE]} == {"GPU-a,GPU-b", "GPU-c,GPU-d"}
    with gpus_for_job(2, 2) as later:
        assert later[VISIBLE] == "GPU-a,GPU-b"


def test_shares_of_different_sizes_do_not_overlap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VISIBLE, "0,1,2,3")
    with gpus_for_job(0, 2) as pair, gpus_for_job(0, -1) as single:
        assert pair[VISIBLE] == "0,1"
        assert single[VISIBLE] == "2"
    with gpus_for_job(1, -1), gpus_for_job(0, 2) as pair:
        assert pair[VISIBLE] == "2,3"


def test_what_nvidia_smi_says_when_it_fails_is_no_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VISIBLE, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    for code, expected in ((9, []), (0, ["0", "1"])):
        (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\necho 0 1\nexit {code}\n", encoding="utf-8")
        (tmp_path / "nvidia-smi").chmod(0o755)
        assert visible_gpus() == expected


def test_a_job_without_a_free_gpu_waits_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    monkeypatch.setenv(VISIBLE, "0,1")
    had: list[str] = []

    def take() -> None:
        with gpus_for_job(3, 2) as environment:
            had.append(environment[VISIBLE])

    waiting = threading.Thread(target=take)
    with gpus_for_job(0, 2), gpus_for_job(1, 2):
        waiting.start()
        waiting.join(timeout=0.2)
        assert had == []
    waiting.join(timeout=10)
    assert had == ["1"]


@pytest.mark.parametrize(("listed", "num_jobs"), [("0,1", None), ("0", 4), ("", 4)])
def test_nothing_is_dealt_out_where_there_is_nothing_to_share(
    monkeypatch: pytest.MonkeyPatch, listed: str, num_jobs: int | None
) -> None:
    monkeypatch.setenv(VISIBLE, listed)
    with gpus_for_job(0, num_jobs) as environment:
        assert environment[VISIBLE] == listed


def test_an_empty_list_means_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VISIBLE, "")
    assert visible_gpus() == []
