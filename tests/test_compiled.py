"""The same bits whatever compiles them; the cache of machine code; what the user is told."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import sys
import threading
from pathlib import Path

import filelock
import numba
import numpy as np
import pytest

from simhcc.engine import arithmetic, compiled, hazards, rng

PACKAGE = Path(compiled.__file__).resolve().parent.parent
ON_X86 = platform.machine().lower() in ("x86_64", "amd64")

# Bits of every function of the engine's arithmetic on the inputs of `digests`. They are the same on every processor;
# a change here changes the last digits of every result and belongs in the changelog.
FROZEN = {
    "uniforms": "8d1a3971197fc6b8",
    "log": "268c121be69277e8",
    "log1p": "5e66ecde6d547e11",
    "exp": "511196c11470dfe8",
    "expm1": "442a3728e0131420",
    "normal_quantile": "486765a9ed8e84ed",
    "normal_log_sf": "6f22fb0ff1bc730d",
    "normal_isf_log": "db18fb0ced1b69d4",
    "power": "b59ca9cec9a95118",
    "gengamma_table": "770860bc179659a1",
    "survspline_table": "9daf1357e40db27e",
    "exponential": "d1e667b859d63a66",
    "weibull": "5e36d88d8b83201f",
    "gompertz": "9352faea9c066944",
    "llogis": "6efd9fca9849c182",
    "lnorm": "b9bf0ce07de981b7",
    "table": "715dbdb431105542",
    "log table": "ca9c9b3f514df4d9",
}


def _digest(*arrays):
    digest = hashlib.blake2s(digest_size=8)
    for array in arrays:
        digest.update(np.where(np.isnan(array), 1.5, array).astype("<f8").tobytes())
        digest.update(np.isnan(array).tobytes())
    return digest.hexdigest()


def digests():
    """Return a digest of the results of each function, on 203 inputs, so that vector loops leave a remainder."""
    u = rng.uniforms(1, 0, np.arange(203), "x")
    wide = np.ldexp(u + 0.5, (np.arange(203) - 100) * 8)
    wide[:5] = [0.0, np.inf, np.nan, 1.0, -1.0]
    spread = (u - 0.5) * 100.0
    found = {"uniforms": _digest(u)}
    for name, x in [
        ("log", wide),
        ("log1p", wide),
        ("exp", spread * 15.0),
        ("expm1", spread),
        ("normal_quantile", u),
        ("normal_log_sf", spread),
        ("normal_isf_log", wide),
    ]:
        found[name] = _digest(getattr(arithmetic, f"{name}_array")(x))
    found["power"] = _digest(arithmetic.power_array(wide, spread / 10.0))
    times, values = hazards.gengamma_table(2.5, 0.9, -0.4, 16)
    found["gengamma_table"] = _digest(times, values)
    spline = hazards.survspline_table([-4.0, 1.6, 0.05, -0.08], [-1.0, 1.0, 2.5, 4.5], "normal", 16)
    found["survspline_table"] = _digest(*spline)
    tables = np.concatenate([[0.0, 1.0, 3.0, 9.0], [0.0, 0.3, 0.3, 2.0], times, values])
    scratch = np.empty(203, dtype=np.int64)
    for name, family, p0, p1, offset, count in [
        ("exponential", hazards.EXPONENTIAL, 0.07, 0.0, 0, 0),
        ("weibull", hazards.WEIBULL, 1.3, 17.0, 0, 0),
        ("gompertz", hazards.GOMPERTZ, -0.04, 0.03, 0, 0),
        ("llogis", hazards.LLOGIS, 1.9, 13.0, 0, 0),
        ("lnorm", hazards.LNORM, 2.2, 0.8, 0, 0),
        ("table", hazards.TABLE, 0.0, 0.0, 0, 4),
        ("log table", hazards.LOGTABLE, 0.0, 0.0, 8, 16),
    ]:
        results = []
        for cure in (0.0, 0.3):
            for block in (hazards.cumulative_block, hazards.inverse_block):
                for x in (wide, u * 10.0):
                    out = np.empty(203)
                    with np.errstate(all="ignore"):
                        block(family, p0, p1, cure, tables, offset, count, x, out, 203, scratch)
                    results.append(out)
        found[name] = _digest(*results)
    return found


def _run(code, folder=None, **environment):
    """Return the standard output of Python code run in a new process, in `folder`."""
    paths = os.pathsep.join([str(PACKAGE.parent), str(Path(__file__).parent)])
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": paths, **environment},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


# -- bits -------------------------------------------------------------------------------------------------------------


def test_the_bits_are_the_frozen_ones():
    assert digests() == FROZEN


@pytest.mark.parametrize(
    "environment",
    [
        pytest.param({"NUMBA_DISABLE_JIT": "1"}, id="uncompiled"),
        pytest.param({"NUMBA_CPU_NAME": "generic"}, id="without AVX"),
        pytest.param(
            {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": "+avx2,+avx,+fma,+sse4.2,+popcnt"},
            id="AVX2 with fused multiply-add",
            marks=[pytest.mark.slow, pytest.mark.skipif(not ON_X86, reason="needs an x86 processor")],
        ),
        pytest.param({"NUMBA_OPT": "0"}, id="not optimised", marks=pytest.mark.slow),
    ],
)
def test_the_bits_do_not_depend_on_the_compiler(environment):
    found = json.loads(_run("import json, test_compiled; print(json.dumps(test_compiled.digests()))", **environment))
    assert found == FROZEN


# -- cache ------------------------------------------------------------------------------------------------------------

CALLER = """
from simhcc.engine.compiled import compiled
from simhcc.engine.helper import helper

@compiled
def caller(x):
    return helper(x) + 1.0
"""
HELPER = """
from simhcc.engine.compiled import inline

@inline
def helper(x):
    return x * FACTOR
"""
CALL = (
    "import simhcc.engine.caller as c, simhcc.engine.compiled as k, sys;"
    "c.caller(3.0); print(c.caller(3.0), sum(c.caller.stats.cache_hits.values()), k.CACHE_FOLDER)"
)


@pytest.fixture
def small_package(tmp_path):
    """Return the folder of a package with two compiled functions in two files, and a function that calls them."""
    folder = tmp_path / "simhcc"
    (folder / "engine").mkdir(parents=True)
    for name in ("__init__.py", "engine/__init__.py"):
        (folder / name).touch()
    (folder / "engine" / "compiled.py").write_bytes((PACKAGE / "engine" / "compiled.py").read_bytes())
    (folder / "engine" / "caller.py").write_text(CALLER)
    (folder / "engine" / "helper.py").write_text(HELPER.replace("FACTOR", "2.0"))

    def call(**environment):
        places = {"PYTHONPATH": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "user"), "NUMBA_CACHE_DIR": ""}
        result, hits, cache = _run(CALL, tmp_path, **{**places, **environment}).split()
        return float(result), int(hits), cache

    return folder, call


def test_an_edited_helper_in_another_file_is_noticed(small_package):
    folder, call = small_package
    result, hits, first = call()
    assert (result, hits) == (7.0, 0)
    assert Path(first).parent == folder / "__numba_cache__"
    assert call() == (7.0, 1, first)
    (folder / "engine" / "helper.py").write_text(HELPER.replace("FACTOR", "5.0"))
    result, hits, second = call()
    assert (result, hits) == (16.0, 0)
    assert second != first


def test_a_package_that_cannot_be_written_to_is_cached_with_the_user(small_package):
    folder, call = small_package
    (folder / "__numba_cache__").touch()  # a file where the folder would go
    result, hits, cache = call()
    assert (result, hits) == (7.0, 0)
    assert Path(cache).parent == folder.parent / "user" / "simhcc" / "numba"
    assert call() == (7.0, 1, cache)


def test_a_cache_folder_of_the_users_own_goes_first(small_package):
    folder, call = small_package
    cache = call(NUMBA_CACHE_DIR=str(folder.parent / "mine"))[2]
    assert Path(cache).parent == folder.parent / "mine" / "simhcc"


def test_nothing_is_cached_where_nothing_can_be_written(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setattr(compiled, "_candidates", lambda package: iter([tmp_path / "file", tmp_path / "file" / "below"]))
    assert compiled._choose_folder(PACKAGE) is None
    monkeypatch.setattr(compiled, "CACHE_FOLDER", None)

    @compiled.compiled
    def half(x):
        return x / 2.0

    with compiled.compiling("nothing to cache"):
        assert half(3.0) == 1.5
    assert half.stats.cache_path is None


def test_the_digest_covers_sources_outside_the_engine_that_compile(tmp_path):
    (tmp_path / "engine").mkdir()
    (tmp_path / "engine" / "a.py").write_text("one")
    (tmp_path / "outcomes.py").write_text("two")
    (tmp_path / "trials.py").write_text("from simhcc.engine.compiled import compiled")
    (tmp_path / "report.py").write_text("print()")
    names = [compiled._digest(tmp_path)]
    for name in ("engine/a.py", "outcomes.py", "trials.py"):
        with (tmp_path / name).open("a") as file:
            file.write("# more")
        names.append(compiled._digest(tmp_path))
    assert len(set(names)) == 4
    (tmp_path / "report.py").write_text("print(1)")
    assert compiled._digest(tmp_path) == names[-1]


def test_the_digest_covers_the_processor(monkeypatch):
    before = compiled._digest(PACKAGE)
    monkeypatch.setattr(numba.config, "CPU_NAME", "generic")
    assert compiled._digest(PACKAGE) != before


def test_old_caches_are_removed_and_the_newest_kept(tmp_path):
    for n in range(12):
        (tmp_path / f"{n:02}").mkdir()
        os.utime(tmp_path / f"{n:02}", (1e9 + n, 1e9 + n))
    compiled._remove_old_folders(tmp_path / "03")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["03", "05", "06", "07", "08", "09", "10", "11"]


# -- decorators -------------------------------------------------------------------------------------------------------


def test_the_decorators_leave_the_users_settings_alone_and_are_strict():
    @compiled.compiled("float64(float64, float64)")
    def quotient(x, y):
        return x / y

    assert os.environ.get("NUMBA_CACHE_DIR", "") == numba.config.CACHE_DIR
    assert quotient(1.0, 0.0) == np.inf
    assert quotient.nopython_signatures[0].args == (numba.float64, numba.float64)
    assert not quotient.targetoptions.get("fastmath") and quotient.targetoptions["nogil"]
    with pytest.raises(ValueError, match="fastmath"):
        compiled.compiled(fastmath=True)


def test_inlined_functions_leave_no_call_behind():
    # A random number left as a call would cost ten times as much, for then its loop does not vectorise. LLVM inlines
    # this small loop by itself, but not the kernel; hence the option.
    assert rng.uniform.targetoptions["forceinline"]

    @compiled.compiled(cache=False)
    def numbers(patients, out):
        zero = np.uint64(0)
        for i in range(patients.size):
            out[i] = rng.uniform(patients[i], zero, zero, zero, zero, zero)

    numbers(np.arange(4, dtype=np.uint64), np.empty(4))
    (code,) = numbers.inspect_llvm().values()
    assert "numbers" in code
    assert not [line for line in code.splitlines() if "call" in line and ("uniform" in line or "philox" in line)]


def test_uncompiled_functions_are_plain_python():
    code = (
        "import types; from simhcc.engine import arithmetic, hazards, compiled;"
        "print(type(arithmetic.log_) is type(hazards.cumulative) is types.FunctionType, compiled.CACHE_FOLDER)"
    )
    assert _run(code, NUMBA_DISABLE_JIT="1").split() == ["True", "None"]


# -- what the user is told --------------------------------------------------------------------------------------------


def test_the_message_appears_when_something_is_compiled_and_only_then(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(compiled, "CACHE_FOLDER", tmp_path / "digest")
    (tmp_path / "digest").mkdir()

    def double(x):
        return 2.0 * x

    with compiled.compiling("Compiling for a while ..."):
        assert compiled.compiled(double)(1.0) == 2.0
    told = capsys.readouterr().err
    assert told.startswith("Compiling for a while ...\nCompiled in ")
    with compiled.compiling("Compiling for a while ..."):
        assert compiled.compiled(double)(1.0) == 2.0  # from the cache
    assert capsys.readouterr().err == ""


def test_one_process_waits_while_another_compiles(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(compiled, "CACHE_FOLDER", tmp_path)
    held = filelock.FileLock(tmp_path / "compile.lock", thread_local=False)
    held.acquire()
    entered = threading.Event()

    def second():
        with compiled.compiling("work"):
            entered.set()

    thread = threading.Thread(target=second)
    thread.start()
    assert not entered.wait(1.0)
    held.release()
    thread.join(60.0)
    assert entered.is_set()
    assert "Waiting for another process" in capsys.readouterr().err
    held.acquire()
    with compiled.compiling("work"):  # once it has been compiled nobody waits
        pass
    held.release()


def test_a_compilation_that_fails_is_not_taken_for_done(monkeypatch, tmp_path):
    monkeypatch.setattr(compiled, "CACHE_FOLDER", tmp_path)
    with pytest.raises(ZeroDivisionError), compiled.compiling("work"):
        raise ZeroDivisionError
    assert not list(tmp_path.glob("*.done"))
    assert filelock.FileLock(tmp_path / "compile.lock").acquire(timeout=1.0)


# -- indices ----------------------------------------------------------------------------------------------------------


def test_parts_never_count_from_the_end_of_an_array():
    # They are compiled without Numba's support for it, so a negative index would read what lies before the array.
    code = (
        "import json, engine_tools\n"
        "import numpy as np\n"
        "with np.errstate(all='ignore'):\n"
        "    print(json.dumps([engine_tools.digest_from_the_start(40), engine_tools.digest(40)]))"
    )
    strict, plain = json.loads(_run(code, NUMBA_DISABLE_JIT="1"))
    assert strict == plain


def test_functions_of_others_still_count_from_the_end():
    compiled.link()
    last = numba.njit(lambda values, place: values[place])
    assert last(np.array([1.0, 2.0, 3.0]), -1) == 3.0
