"""Who works alone and who beside others."""

import threading

import pytest

from toolchain.errors import DeadlineExceeded
from verifiers.floor import Floor


def test_a_visit_was_alone_only_if_nobody_else_was_there_at_any_time():
    floor = Floor()
    with floor.shared(wait_s=1) as first:
        pass
    assert first.was_alone
    with floor.shared(wait_s=1) as second:
        with floor.shared(wait_s=1) as third:
            pass
        assert not second.was_alone
        assert not third.was_alone
    with floor.shared(wait_s=1) as fourth:
        pass
    assert fourth.was_alone


def test_whoever_is_alone_has_waited_for_the_others_and_keeps_new_ones_out():
    floor, order = Floor(), []
    is_in, may_leave = threading.Event(), threading.Event()

    def work() -> None:
        with floor.shared(wait_s=10):
            is_in.set()
            may_leave.wait(timeout=10)
            order.append("shared leaves")

    def work_alone() -> None:
        with floor.alone(wait_s=10) as visit:
            order.append("alone enters")
            late.start()
            late.join(timeout=0.2)
            order.append("alone leaves")
        assert visit.was_alone

    def come_late() -> None:
        with floor.shared(wait_s=10):
            order.append("late enters")

    threads = [threading.Thread(target=work), threading.Thread(target=work_alone)]
    late = threading.Thread(target=come_late)
    threads[0].start()
    is_in.wait(timeout=10)
    threads[1].start()
    may_leave.set()
    for thread in threads:
        thread.join(timeout=10)
    late.join(timeout=10)
    assert order == ["shared leaves", "alone enters", "alone leaves", "late enters"]


def test_two_that_want_to_be_alone_take_turns():
    floor, inside, most = Floor(), [], []

    def work() -> None:
        for _ in range(50):
            with floor.alone(wait_s=10):
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
    assert max(most) == 1
    assert len(most) == 150


def test_a_wait_to_be_alone_has_an_end_and_leaves_the_floor_usable():
    floor = Floor()
    with floor.shared(wait_s=1), pytest.raises(DeadlineExceeded, match="the other workers"), floor.alone(wait_s=0.05):
        pass
    with (
        floor.alone(wait_s=1),
        pytest.raises(DeadlineExceeded, match="those that work alone"),
        floor.shared(wait_s=0.05),
    ):
        pass
    with floor.shared(wait_s=1):
        pass


def test_an_error_inside_leaves_the_floor_free():
    floor = Floor()
    for stay in (floor.shared, floor.alone):
        with pytest.raises(ValueError, match="inside"), stay(wait_s=1):
            raise ValueError("inside")
    with floor.alone(wait_s=0.1) as visit:
        assert visit.was_alone
