"""Jobs in parts: who makes what, what is there when one goes on, and a process that is lost."""

import contextlib
import threading
import time

import pytest

from cohgen_jax.errors import InputError
from cohgen_jax.storage import parts
from cohgen_jax.storage.distributed import Share
from cohgen_jax.storage.parts import Parts, holds_parts

GROUPS = [["a-0", "b-0"], ["a-1", "b-1"], ["a-2", "b-2"], ["a-3", "b-3"], ["a-4", "b-4"]]
NAMES = {name for group in GROUPS for name in group}


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    monkeypatch.setattr(parts, "BEAT", 0.02)
    monkeypatch.setattr(parts, "PATIENCE", 0.3)
    monkeypatch.setattr(parts, "POLL", 0.01)


def opened(folder, share=Share(), job=None, resume=False):
    held = contextlib.nullcontext()
    return Parts.opened(folder, share, job or {"seed": 0}, resume=resume, held=held)


@contextlib.contextmanager
def joined(folder, share=Share(1, 2), job=None):
    """As another process, which takes what process 0 has begun."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "by_first", lambda work: None)
        with opened(folder, share, job) as other:
            yield other


def make(own: Parts, name: str) -> None:
    with own.making(name) as folder:
        (folder / "text").write_text(name)


def test_every_part_is_made_by_one_process_and_a_group_by_the_same(tmp_path):
    with opened(tmp_path / "parts", Share(0, 3)) as first:
        dealt = [first.deal(GROUPS)]
        for k in (1, 2):
            with joined(tmp_path / "parts", Share(k, 3)) as other:
                dealt.append(other.deal(GROUPS))
    assert dealt == [["a-0", "b-0", "a-3", "b-3"], ["a-1", "b-1", "a-4", "b-4"], ["a-2", "b-2"]]


def test_parts_that_are_there_are_not_made_again(tmp_path):
    folder = tmp_path / "parts"
    with opened(folder) as own:
        for name in own.deal(GROUPS)[:3]:
            make(own, name)
        with pytest.raises(OSError, match="full"), own.making("b-1"):
            raise OSError("full")
    assert holds_parts(folder)
    (folder / ".killed").mkdir()
    with opened(folder, resume=True) as own:
        mine = own.deal(GROUPS)
        assert set(mine) == NAMES - {"a-0", "b-0", "a-1"}
        for name in mine:
            make(own, name)
        own.wait()
        assert {path.name for path in folder.iterdir()} == {*NAMES, parts.JOB}
        own.remove()
    assert not folder.exists()
    with opened(folder) as own:  # without `resume` from the beginning
        make(own, own.deal(GROUPS)[0])
    with opened(folder) as own:
        assert set(own.deal(GROUPS)) == NAMES


def test_another_job_is_refused(tmp_path):
    folder = tmp_path / "parts"
    with opened(folder) as own:
        make(own, "a-0")
        with (
            pytest.raises(InputError, match=r"otherwise from process 1 \(seed: 0 -> 1\)"),
            joined(folder, job={"seed": 1}),
        ):
            pass
    with (
        pytest.raises(InputError, match=r"another job \(seed: 0 -> 1\): give the same arguments"),
        opened(folder, job={"seed": 1}, resume=True),
    ):
        pass
    assert holds_parts(folder)


def test_a_folder_that_a_process_does_not_see_is_told(tmp_path):
    with (
        pytest.raises(InputError, match=r"process 1 does not see .*all processes reach"),
        joined(tmp_path / "elsewhere"),
    ):
        pass


def test_a_silent_process_is_told_with_what_it_has_left(tmp_path):
    folder = tmp_path / "parts"
    with opened(folder, Share(0, 2)) as own:
        for name in own.deal(GROUPS):
            make(own, name)
        with pytest.raises(InputError, match="is silent") as told:
            own.wait()
    kept = f"What is done is kept in {folder}: run the same command again with --resume"
    assert str(told.value) == (
        f"process 1 of 2 is silent for 0 s, left: a-1, b-1, a-3, b-3. {kept}"
    )


def test_a_process_that_stops_is_told_at_once_and_one_that_lives_is_waited_for(tmp_path):
    folder = tmp_path / "parts"

    def second() -> None:
        with contextlib.suppress(OSError), joined(folder) as other:
            time.sleep(2 * parts.PATIENCE)
            make(other, other.deal(GROUPS)[0])
            raise OSError("full")

    with opened(folder, Share(0, 2)) as own:
        for name in own.deal(GROUPS):
            make(own, name)
        thread = threading.Thread(target=second)
        thread.start()
        with pytest.raises(InputError, match="process 1 of 2 has stopped, left: b-1, a-3, b-3"):
            own.wait()
        thread.join()
