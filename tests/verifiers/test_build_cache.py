"""Builds are made once, kept by content, and make room for newer ones."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolchain.errors import UsageError
from verifiers.build_cache import BuildCache, build_key


def _writer(calls: list[str], text: str, size: int = 0):
    def build(folder: Path) -> None:
        calls.append(text)
        (folder / "program").write_text(text + "x" * size)

    return build


def test_a_build_is_made_once_and_found_again_by_another_cache(tmp_path):
    calls: list[str] = []
    first = BuildCache(tmp_path).get("k", _writer(calls, "a"))
    again = BuildCache(tmp_path).get("k", _writer(calls, "b"))
    assert first == again
    assert (again / "program").read_text() == "a"
    assert calls == ["a"]


def test_a_build_that_fails_leaves_nothing(tmp_path):
    def fail(folder: Path) -> None:
        (folder / "half").write_text("")
        raise RuntimeError("no")

    cache = BuildCache(tmp_path)
    with pytest.raises(RuntimeError):
        cache.get("k", fail)
    assert list(tmp_path.iterdir()) == []
    assert (cache.get("k", _writer([], "a")) / "program").exists()


def test_of_two_at_once_the_first_stays(tmp_path):
    cache = BuildCache(tmp_path)

    def slow(folder: Path) -> None:
        cache.get("k", _writer([], "first"))
        (folder / "program").write_text("second")

    assert (cache.get("k", slow) / "program").read_text() == "first"


def test_the_least_recently_used_go_first(tmp_path):
    cache = BuildCache(tmp_path, max_bytes=3000)
    for age, key in ((30, "old"), (20, "used"), (10, "new")):
        place = cache.get(key, _writer([], key, 900))
        os.utime(place, (1e9 - age, 1e9 - age))
    cache.get("used", _writer([], "never"))
    cache.get("newest", _writer([], "newest", 900))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["newest", "used"]


def test_a_cache_that_cannot_be_made_is_refused_by_name(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="file/builds"):
        BuildCache(tmp_path / "file" / "builds")


@given(st.lists(st.text(max_size=4), max_size=4), st.lists(st.text(max_size=4), max_size=4))
def test_keys_are_equal_only_for_equal_parts(one, other):
    assert (build_key(one) == build_key(other)) == (one == other)
