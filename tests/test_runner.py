"""The runner in one process: order, memory, inputs, errors, planning and progress."""

import dataclasses
import enum
import io
import itertools
import json
import sys
import tracemalloc
from collections import namedtuple

import numpy as np
import pytest
import test_runner_jobs as jobs

from simhcc.errors import InputError, ModelError, SimulationError
from simhcc.runner import Job, Step, console_progress, grid, run, split
from simhcc.runner.fingerprint import code, describe
from simhcc.runner.progress import duration


def direct(job):
    """The independent slow version: call the function for every address, one after another."""
    module, _, name = job.function.partition(":")
    return [getattr(sys.modules[module], name)(job.inputs, address) for address in job.shards]


def same_bits(left, right):
    return left.dtype == right.dtype and left.shape == right.shape and left.tobytes() == right.tobytes()


# ------------------------------------------------------------------------------------------------ results and order


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_results_are_those_of_plain_calls_in_the_order_of_the_shards(threads, tmp_path):
    job = jobs.walk_job(17)
    expected = direct(job)
    for folder in (None, tmp_path):
        with run(job, folder, threads=threads) as results:
            shards = list(results)
        assert [shard.index for shard in shards] == list(range(17))
        assert [shard.address for shard in shards] == list(job.shards)
        for shard, arrays in zip(shards, expected, strict=True):
            assert shard.arrays.keys() == arrays.keys()
            assert all(same_bits(shard.arrays[name], arrays[name]) for name in arrays)


def test_all_cores_are_the_default():
    assert [s.arrays["x"][0] for s in run(jobs.simple_job("one"))] == list(range(10))


def test_collect_joins_along_the_first_axis():
    job = jobs.walk_job(5)
    collected = run(job).collect()
    parts = direct(job)
    assert same_bits(collected["total"], np.concatenate([part["total"] for part in parts]))
    assert collected["n"].tolist() == [1000] * 5
    assert collected["draw"].tolist() == list(range(10))


def test_every_sort_of_array_is_the_same_from_memory_and_from_disk(tmp_path):
    job = jobs.simple_job("kinds", n=2)
    memory = list(run(job))
    fresh = list(run(job, tmp_path))
    stored = list(run(job, tmp_path, resume=True))
    expected = jobs.kinds({}, {})
    for shards in (memory, fresh, stored):
        for shard in shards:
            assert list(shard.arrays) == list(expected)
            for name, array in shard.arrays.items():
                assert array.flags.c_contiguous and array.flags.writeable
                wanted = expected[name].astype(expected[name].dtype.newbyteorder("<"), order="C")
                assert same_bits(array, wanted), name


def test_a_function_may_hand_out_a_buffer_that_it_fills_again():
    # Two shards at a time would otherwise see the later one's numbers; here every earlier array would show 9.
    shards = list(run(jobs.simple_job("reused_buffer"), threads=1))
    assert [shard.arrays["x"][0] for shard in shards] == list(range(10))


def test_the_function_sees_a_copy_of_the_inputs():
    values = np.arange(4.0)
    job = Job("peek", "test_runner:peek", {"values": values}, grid(i=[0]))
    list(run(job))
    assert values.tolist() == [0.0, 1.0, 2.0, 3.0]


def peek(inputs, address):
    inputs["values"][:] = -1.0
    return {"x": inputs["values"]}


@pytest.mark.parametrize("in_folder", [False, True])
def test_memory_does_not_grow_with_the_number_of_shards(in_folder, tmp_path):
    def peak(n):
        tracemalloc.start()
        for _ in run(jobs.simple_job("one", n=n, size=25_000), tmp_path / str(n) if in_folder else None, threads=2):
            pass
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return top

    shard_bytes = 200_000
    few, many = peak(60), peak(240)
    # 180 more shards of 0.2 MB would add 36 MB if they were kept; 2 threads may hold 8 + 32 shards and their files
    assert many < few + 20 * shard_bytes
    assert many < 100 * shard_bytes


def test_a_slow_first_shard_does_not_make_the_others_pile_up():
    tracemalloc.start()
    total = sum(float(s.arrays["x"][0]) for s in run(jobs.simple_job("slow_first", n=200, size=25_000), threads=2))
    top = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total == sum(range(200))
    assert top < 60 * 200_000


def test_leaving_early_computes_little_more():
    with run(jobs.simple_job("one", n=500), threads=2) as results:
        for shard in results:
            if shard.index == 3:
                break
    assert 4 <= results.computed <= 60


# --------------------------------------------------------------------------------------------------------- errors


def test_a_failure_names_the_shard_and_the_cause():
    with pytest.raises(SimulationError, match=r"shard 4 .*'i': 4.*ValueError: the liver of patient 7") as caught:
        run(jobs.simple_job("fail_at", at=4)).collect()
    assert isinstance(caught.value.__cause__, ValueError)


def test_errors_of_simhcc_keep_their_class_and_fields():
    with pytest.raises(InputError) as caught:
        run(jobs.simple_job("refuse")).collect()
    assert (caught.value.file, caught.value.line, caught.value.key) == ("a.yaml", 3, "rate")
    with pytest.raises(ModelError, match="no way out"):
        run(jobs.simple_job("refuse_model")).collect()


def test_shards_before_the_failure_are_kept(tmp_path):
    with pytest.raises(SimulationError, match="shard 9"):
        run(jobs.simple_job("fail_at", at=9), tmp_path, threads=1).collect()
    kept = {path.name for path in (tmp_path / "shards").iterdir()}
    assert kept == {f"{i:06d}.shard" for i in range(9)}


@pytest.mark.parametrize(
    ("kind", "words"), [("none", "gave NoneType"), ("objects", "'x' is of object"), ("names", "gave dict")]
)
def test_results_that_cannot_be_kept_are_refused(kind, words):
    with pytest.raises(SimulationError, match=words):
        run(jobs.simple_job("odd_results", kind=kind)).collect()


def test_a_result_of_another_shape_than_promised_is_refused():
    job = dataclasses.replace(
        jobs.walk_job(3, kind="shape"),
        function="test_runner_jobs:odd_results",
    )
    with pytest.raises(SimulationError, match=r"array 'total' is \(3,\), not \(2, 2\)"):
        run(job).collect()


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("test_runner_jobs", "importable function"),
        ("no_such_module:f", "No module named"),
        ("test_runner_jobs:nothing", "no attribute 'nothing'"),
        ("__main__:f", "another process cannot import"),
        ("test_runner_jobs:SHARDS", "not a function"),
    ],
)
def test_a_function_that_cannot_be_imported_is_refused_at_once(function, words):
    with pytest.raises(InputError, match=words):
        run(Job("x", function, {}, grid(i=[1])))


def test_arguments_without_effect_are_refused(tmp_path):
    job = jobs.simple_job("one")
    with pytest.raises(InputError, match="--resume without a folder"):
        run(job, resume=True)
    with pytest.raises(InputError, match="both threads and a Dask cluster"):
        run(job, threads=2, dask="tcp://127.0.0.1:8786")
    with pytest.raises(InputError, match="whole number from 1"):
        run(job, threads=0)
    with pytest.raises(InputError, match="without a folder"), run(job) as results:
        results.finish()


def test_wrong_jobs_are_refused():
    with pytest.raises(InputError, match="no shards"):
        Job("x", "a:b", {}, [])
    with pytest.raises(InputError, match=r"shards\[0\] again"):
        Job("x", "a:b", {}, [{"i": 1}, {"i": 1}])
    with pytest.raises(InputError, match=r"shards\[1\]\.i"):
        Job("x", "a:b", {}, [{"i": 1}, {"i": {2}}])
    with pytest.raises(InputError, match="inputs of type list"):
        Job("x", "a:b", [], [{"i": 1}])  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"inputs\.f"):
        run(Job("x", "test_runner_jobs:one", {"f": lambda: None}, [{"i": 1}]))


# -------------------------------------------------------------------------------------------------------- planning


def test_split_covers_everything_once_in_whole_multiples():
    assert split(10, 3) == [(0, 3), (3, 6), (6, 10)]
    assert split(5000, 2, 1024) == [(0, 2048), (2048, 5000)]
    assert split(3, 10) == [(0, 1), (1, 2), (2, 3)]
    assert split(100, 4, 1024) == [(0, 100)]
    for n, parts, multiple in [(1, 1, 1), (999_999, 7, 1024), (1024, 3, 1024), (2049, 3, 1024)]:
        ranges = split(n, parts, multiple)
        assert ranges[0][0] == 0 and ranges[-1][1] == n and len(ranges) <= parts
        assert all(a[1] == b[0] and a[1] % multiple == 0 for a, b in itertools.pairwise(ranges))
        assert all(lo < hi for lo, hi in ranges)
    with pytest.raises(InputError):
        split(0, 1)


def test_grid_runs_its_last_axis_fastest():
    assert grid(d=[(0, 2)], p=[1, 2]) == [{"d": (0, 2), "p": 1}, {"d": (0, 2), "p": 2}]


# ----------------------------------------------------------------------------------------------------- fingerprints

Point = namedtuple("Point", "x y")


@dataclasses.dataclass(frozen=True)
class Box:
    width: float
    tags: tuple


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


BASE = {
    "number": 1,
    "real": 0.1,
    "text": "a",
    "long_text": "a" * 100,
    "typed": np.int64(1),
    "flag": True,
    "nothing": None,
    "array": np.arange(100.0),
    "small": np.array([1.0, 2.0]),
    "list": [1, 2],
    "long": list(range(200)),
    "point": Point(1, 2),
    "box": Box(1.0, ("a",)),
    "set": {"a", "b"},
    "colour": Colour.RED,
    "deep": {"a.b": 1},
    "empty": {},
}
CHANGES = {
    "number": [2, 1.0, True, "1", np.int64(1), None],
    "real": [np.nextafter(0.1, 1), np.float64(0.1), np.float32(0.1)],
    "text": ["b", "a ", b"a"],
    "long_text": ["a" * 99 + "b"],
    "typed": [np.uint64(1), np.int64(2), 1],
    "flag": [False, 1],
    "nothing": ["None", 0],
    "array": [np.arange(100), np.arange(101.0), np.arange(100.0).reshape(10, 10), np.arange(100.0) + 1e-13],
    "small": [np.array([1.0, 2.0000000000000004]), np.array([1.0, 2.0], np.float32), [1.0, 2.0]],
    "list": [(1, 2), [2, 1], [1, 2, 3]],
    "long": [[*range(199), 0], tuple(range(200))],
    "point": [Point(1, 3), (1, 2), {"x": 1, "y": 2}],
    "box": [Box(2.0, ("a",)), Box(1.0, ("b",))],
    "set": [{"a"}, ["a", "b"], frozenset({"a", "b"})],
    "colour": [Colour.BLUE, 1],
    "deep": [{"a": {"b": 1}}, {"a.b": 2}],
    "empty": [[], None],
}


@pytest.mark.parametrize("key", BASE)
def test_any_change_of_an_input_changes_the_fingerprint(key):
    before = describe(BASE)
    for changed in CHANGES[key]:
        after = describe({**BASE, key: changed})
        assert after.digest != before.digest, changed
        if key != "deep":  # its two forms share their dotted name and text, which is why the digest is compared
            differing = {
                name for name in {**before.leaves, **after.leaves} if before.leaves.get(name) != after.leaves.get(name)
            }
            assert all(name.startswith(f"inputs.{key}") for name in differing)


def test_equal_inputs_have_equal_fingerprints():
    again = {key: value.copy() if isinstance(value, np.ndarray) else value for key, value in BASE.items()}
    again["set"] = {"b", "a"}
    assert describe(again) == describe(BASE)
    assert describe({"x": np.arange(10)[::2]}) == describe({"x": np.arange(0, 10, 2)})


def test_the_order_of_entries_and_of_memory_counts():
    matrix = np.arange(6.0).reshape(2, 3)
    assert describe({"a": 1, "b": 2}).digest != describe({"b": 2, "a": 1}).digest
    assert describe({"a": matrix}).digest != describe({"a": np.asfortranarray(matrix)}).digest


def test_an_input_that_is_not_plain_data_is_refused_by_name():
    for value, words in [(object(), "builtins.object"), (np.array([{}]), "Python objects"), ({1.5: 2}, "type float")]:
        with pytest.raises(InputError, match=words) as caught:
            describe({"values": {"x": value}})
        assert caught.value.key == "inputs.values.x"


def test_the_code_of_a_function_is_what_it_imports(tmp_path, monkeypatch):
    package = tmp_path / "wardround"
    package.mkdir()
    files = {
        "__init__.py": "",
        "analysis.py": "from . import dose\nfrom .sub.deep import f\nimport json\ndef go(inputs, address): pass\n",
        "dose.py": "A = 1\n",
        "unused.py": "B = 1\n",
        "sub/__init__.py": "",
        "sub/deep.py": "def f():\n    from wardround.late import C\n    return C\n",
        "late.py": "C = 1\nfrom simhcc.runner import run\n",
    }
    (package / "sub").mkdir()
    for name, text in files.items():
        (package / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    found = code("wardround.analysis:go")
    used = {
        "wardround",
        "wardround.analysis",
        "wardround.dose",
        "wardround.sub",
        "wardround.sub.deep",
        "wardround.late",
    }
    assert {name for name in found if name.startswith("wardround")} == used
    assert not any(name.startswith("simhcc.runner") for name in found)


# -------------------------------------------------------------------------------------------------------- progress


def test_progress_counts_every_shard_once(tmp_path):
    steps = []
    run(jobs.simple_job("one"), tmp_path, progress=steps.append).finish()
    assert steps[0] == Step("start", "one", 0, 10)
    assert [step.done for step in steps if step.kind == "advance"] == list(range(1, 11))
    assert steps[-1].kind == "finished" and steps[-1].seconds_left == 0.0
    (tmp_path / "shards" / "000004.shard").unlink()
    steps.clear()
    run(jobs.simple_job("one"), tmp_path, resume=True, progress=steps.append).finish()
    assert [(step.kind, step.done) for step in steps] == [("start", 9), ("advance", 10), ("finished", 10)]


def test_progress_tells_how_a_run_ended(tmp_path):
    steps = []
    with pytest.raises(SimulationError):
        run(jobs.simple_job("fail_at", at=4), tmp_path, progress=steps.append).finish()
    assert steps[-1].kind == "failed" and str(tmp_path) in steps[-1].text
    with run(jobs.simple_job("one", n=100), progress=steps.append) as results:
        next(results)
    assert steps[-1].kind == "stopped"


def test_plain_lines_come_at_every_tenth_and_not_too_often():
    now = [0.0]
    stream = io.StringIO()
    show = console_progress(stream=stream, every_seconds=10.0, clock=lambda: now[0])
    show(Step("start", "psa", 0, 100))
    for done in range(1, 101):
        now[0] += 0.7
        show(Step("advance", "psa", done, 100, seconds_left=(100 - done) * 2.0))
    show(Step("finished", "psa", 100, 100, 0.0))
    lines = stream.getvalue().splitlines()
    assert lines[0] == "psa: 100 shards" and lines[-1] == "psa: finished, 100 shards"
    # a shard takes 0.7 s, so 10 s have passed at every fifteenth, and by then another tenth is done
    assert lines[1] == "psa: 15 of 100 shards, 2 min 50 s left"
    assert [line.split()[1] for line in lines[1:-1]] == ["15", "30", "45", "60", "75", "90"]


def test_quiet_tells_only_news_and_a_terminal_gets_a_bar():
    stream = io.StringIO()
    for show, expected in [
        (console_progress(quiet=True, stream=stream), ["psa: a worker left", "psa: stopped at 1 of 2 shards; kept"])
    ]:
        for step in (
            Step("start", "psa", 0, 2),
            Step("note", "psa", 0, 2, text="a worker left"),
            Step("advance", "psa", 1, 2),
        ):
            show(step)
        show(Step("stopped", "psa", 1, 2, text="kept"))
        assert stream.getvalue().splitlines() == expected

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    show = console_progress(stream=terminal)
    show(Step("start", "psa", 0, 2))
    show(Step("advance", "psa", 1, 2, seconds_left=61.0))
    show(Step("finished", "psa", 2, 2, 0.0))
    assert "psa" in terminal.getvalue() and "2/2" in terminal.getvalue()


def test_durations_are_said_as_people_do():
    assert [duration(s) for s in (None, 0.4, 59.4, 60, 125, 3600, 7625)] == [
        "?", "0 s", "59 s", "1 min 00 s", "2 min 05 s", "1 h 00 min", "2 h 07 min",
    ]  # fmt: skip


def test_the_manifest_says_what_is_needed_to_run_again(tmp_path):
    run(jobs.walk_job(3, seed=11), tmp_path).finish()
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["job"] == "walk" and manifest["seed"] == 11
    assert manifest["versions"]["numpy"] == np.__version__
    assert manifest["inputs"]["inputs.weight"] == "0.5"
    assert manifest["shards"][1] == {"draws": [2, 4], "strategies": ["a", "b"], "patients": [0, 1000]}
    assert manifest["sizes"]["shards"] == 3
    assert "test_runner_jobs" in manifest["code"]
