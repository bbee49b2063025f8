"""One module fitted: rounds of simulation and emulation, then the simulation itself at the posterior draws.

1. A design of parameter vectors is drawn, in the first round from the prior, later from a widened posterior of the round before,
   so that the emulator becomes exact where it matters.
2. Emulators of the trials' figures are fitted to what was simulated, and the posterior is sampled on them (IMIS).
3. Draws of the last posterior are simulated. They are the posterior prediction of each figure, and show how far the emulator was
   from the simulation where it counts.

All simulations share their patients and their luck, so figures are smooth in the parameters. Everything that takes long is a job
of the runner and survives an interruption.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri
from scipy.stats import qmc

from simhcc.calibration import emulator as emulators
from simhcc.calibration.imis import Sample, imis
from simhcc.calibration.likelihood import Scales, Term, log_likelihood, log_prior, weighted
from simhcc.calibration.sampling import covariance
from simhcc.calibration.simulated import Figures, evaluate, figures_of, repetitions
from simhcc.calibration.specification import Module
from simhcc.errors import ModelError
from simhcc.inputs import Posterior
from simhcc.runner import ProgressCallback

Floats = NDArray[np.float64]

EFFECT_SD = 0.2
"""spread of the random effects over the design, log hazard ratio: only the derivative is taken from it"""
PRIOR_REACH = 2.5
"""the first design reaches so many sds of the prior"""
WIDEN = 1.4
"""factor on the posterior's spread for the next design"""
FURTHEST = 3.5
UPSTREAM_VECTORS = 60
PRIOR_DRIVEN = 0.8
"""posterior sd over prior sd above which a parameter is called prior-driven (analysis plan, section 2)"""


@dataclass(frozen=True)
class Options:
    """Where a fit keeps its work, and what runs it."""

    folder: Path | None = None
    resume: bool = False
    threads: int | None = None
    dask: str | None = None
    progress: ProgressCallback | None = None
    say: Callable[[str], None] = lambda text: None


@dataclass(frozen=True)
class LeftOut:
    """A published figure predicted by a fit that did not see it: `drawn` (draws,) are what such a trial would report."""

    trial: str
    figure: str
    observed: float
    sd: float
    drawn: Floats
    ess: float


@dataclass(frozen=True)
class Fit:
    """A fitted module.

    `x` (draws, parameters + 2) are equally weighted draws on normal scores, z then those of tau and delta; `values` the
    parameters; `predicted` by trial the expected figures of each draw without the trial's own effect, `effects` by trial the
    trial's effects given the data, one draw for each draw of the parameters. `upstream` names the modules taken over.
    """

    module: Module
    x: Floats
    values: Mapping[str, Floats]
    tau: Floats
    delta: Floats
    terms: tuple[Term, ...]
    figures: tuple[Figures, ...]
    predicted: Mapping[str, Floats]
    effects: Mapping[str, Floats]
    ess: float
    largest_weight: float
    expected_unique: float
    steps: int
    reached: bool
    explained: Mapping[str, Floats]
    emulator_miss: Mapping[str, Floats]
    """by trial (2, figures): mean and sd over the posterior of simulated minus emulated, in sds of the published figure"""
    rounds: tuple[Mapping[str, Any], ...]
    upstream: tuple[str, ...]
    left_out: tuple[LeftOut, ...]
    disagreement: float
    """largest difference between the parameters' means in this sample and in one begun elsewhere, in posterior sds"""

    @property
    def draws(self) -> int:
        """Draws kept."""
        return len(self.x)

    def shrinkage(self) -> Floats:
        """Posterior sd over prior sd of each parameter, on the normal scores of the priors, where prior sds are 1."""
        sd: Floats = self.x[:, :-2].std(axis=0, ddof=1)
        return sd

    def centre(self) -> dict[str, float]:
        """Each parameter at the mean of its normal scores: the base case."""
        values = self.module.values(self.x[:, :-2].mean(axis=0, keepdims=True))
        return {name: float(value[0]) for name, value in values.items()}


def run_fit(
    module: Module, base: Mapping[str, Any], upstream: Sequence[Posterior] = (), options: Options | None = None
) -> Fit:
    """Fit a module. `base` holds all numbers, those of modules before it at their posterior centres; `upstream` their draws.

    Raises ModelError when the simulation cannot be run for most of the prior, or no draw has a likelihood.
    """
    options = options or Options()
    sizes = module.content.simulation
    effects = tuple(module.content.between_trials.effects)
    figures = tuple(figures_of(module, trial) for trial in module.trials)
    scales = Scales(module.between_sd, module.discrepancy_scale)
    sampling = _sampling(module, figures, base, None, options)
    spread = _upstream_spread(module, figures, base, upstream, options)
    x_all: list[Floats] = []
    y_all: list[dict[str, Floats]] = []
    sample: Sample | None = None
    rounds: list[dict[str, Any]] = []
    terms: tuple[Term, ...] = ()
    predict: dict[str, emulators.Emulator] = {}
    for number in range(1, sizes.rounds + 1):
        rng = np.random.default_rng([sizes.seed, number])
        design = _design(module, sizes.design, sample, effects, rng)
        options.say(f"{module.id}: round {number} of {sizes.rounds}, {len(design)} parameter vectors")
        found = _simulated(module, figures, base, design, f"round-{number}", options)
        x_all.append(design)
        y_all.append(found)
        # The first round spans the prior; it would only blur the later ones.
        used = range(len(x_all)) if number == 1 else range(1, len(x_all))
        x = np.concatenate([x_all[k] for k in used])
        predict = {}
        for one in figures:
            y = np.concatenate([y_all[k][one.trial.id] for k in used])
            predict[one.trial.id] = _emulator(module, one, x, y)
        # One sampling covariance at the prior's centre, and one at the first best fit: "recomputed once".
        if number == 2 and sample is not None:
            sampling = _sampling(module, figures, {**base, **_centre(module, sample.mode)}, sample.mode, options)
        at = np.zeros(len(module.fitted)) if sample is None else sample.mean()[:-2]
        terms = tuple(
            _term(module, one, sampling[one.trial.id], spread[one.trial.id], predict[one.trial.id], at)
            for one in figures
        )
        like = log_likelihood(terms, {k: WithoutEffects(e, len(effects)) for k, e in predict.items()}, scales)
        sample = imis(
            log_prior,
            like,
            lambda n, generator: generator.standard_normal((n, len(module.fitted) + 2)),
            wanted=sizes.draws,
            seed=sizes.seed + number,
            start=None if sample is None else sample.mode,
        )
        worst = max(_relative_error(predict[t.trial], t) for t in terms)
        rounds.append(
            {
                "vectors": len(design),
                "ess": round(sample.ess, 1),
                "steps": sample.steps,
                "worst_emulator_error_in_sd": round(worst, 3),
            }
        )
    assert sample is not None
    return _finished(module, base, figures, terms, predict, sample, scales, rounds, upstream, options)


def emulated_prior(
    module: Module, base: Mapping[str, Any], options: Options
) -> tuple[tuple[Term, ...], Mapping[str, Callable[[Floats], Floats]], Scales, tuple[Figures, ...]]:
    """One round over the prior: the likelihood's terms, emulators without random effects, scales, and figures by trial."""
    effects = tuple(module.content.between_trials.effects)
    figures = tuple(figures_of(module, trial) for trial in module.trials)
    sampling = _sampling(module, figures, base, None, options)
    rng = np.random.default_rng([module.content.simulation.seed, 1])
    x = _design(module, module.content.simulation.design, None, effects, rng)
    found = _simulated(module, figures, base, x, "round-1", options)
    predict = {one.trial.id: _emulator(module, one, x, found[one.trial.id]) for one in figures}
    at = np.zeros(len(module.fitted))
    terms = tuple(
        _term(module, one, sampling[one.trial.id], np.zeros_like(sampling[one.trial.id]), predict[one.trial.id], at)
        for one in figures
    )
    plain = {trial: WithoutEffects(e, len(effects)) for trial, e in predict.items()}
    return terms, plain, Scales(module.between_sd, module.discrepancy_scale), figures


def _finished(
    module: Module,
    base: Mapping[str, Any],
    figures: tuple[Figures, ...],
    terms: tuple[Term, ...],
    predict: Mapping[str, emulators.Emulator],
    sample: Sample,
    scales: Scales,
    rounds: list[dict[str, Any]],
    upstream: Sequence[Posterior],
    options: Options,
) -> Fit:
    """Draws of the posterior, what the simulation says at each of them, and how far the emulator was from that."""
    sizes, effects = module.content.simulation, len(module.content.between_trials.effects)
    rng = np.random.default_rng([sizes.seed, 1000])
    x = sample.resampled(sizes.draws, rng)
    options.say(f"{module.id}: {len(x)} posterior draws simulated")
    design = np.concatenate([x[:, :-2], np.zeros((len(x), effects))], axis=1)
    found = _simulated(module, figures, base, design, "posterior", options)
    tau, delta = scales.tau(x[:, -2]), scales.delta(x[:, -1])
    predicted, misses = {}, {}
    for term in terms:
        emulated = WithoutEffects(predict[term.trial], effects)(x[:, :-2])
        told = found[term.trial]
        misses[term.trial] = (np.where(np.isfinite(told), told, np.nan) - emulated) / np.sqrt(np.diag(term.sampling))
        # A figure that no trial would reach at a draw keeps the emulator's word there.
        predicted[term.trial] = np.where(np.isfinite(told), told, emulated)
    drawn = {term.trial: term.effects(predicted[term.trial], tau, delta, rng) for term in terms}
    options.say(f"{module.id}: the posterior sampled again from another beginning")
    again = _again(module, terms, predict, scales)
    return Fit(
        module=module,
        x=x,
        values=module.values(x[:, :-2]),
        tau=tau,
        delta=delta,
        terms=terms,
        figures=figures,
        predicted=predicted,
        effects=drawn,
        ess=sample.ess,
        largest_weight=sample.largest,
        expected_unique=sample.expected_unique,
        steps=sample.steps,
        reached=sample.reached,
        explained={t.trial: predict[t.trial].explained for t in terms},
        emulator_miss={trial: np.stack([np.nanmean(m, axis=0), np.nanstd(m, axis=0)]) for trial, m in misses.items()},
        rounds=tuple(rounds),
        upstream=tuple(p.id for p in upstream),
        left_out=tuple(_left_out(module, figures, terms, predict, sample, scales)),
        disagreement=_disagreement(sample, again),
    )


def _again(
    module: Module, terms: tuple[Term, ...], predict: Mapping[str, emulators.Emulator], scales: Scales
) -> Sample:
    """The posterior sampled once more with other numbers, its search for the mode begun at the best of its own prior draws."""
    sizes, effects = module.content.simulation, len(module.content.between_trials.effects)
    return imis(
        log_prior,
        log_likelihood(terms, {k: WithoutEffects(e, effects) for k, e in predict.items()}, scales),
        lambda n, generator: generator.standard_normal((n, len(module.fitted) + 2)),
        wanted=sizes.draws,
        seed=sizes.seed + 500,
    )


def _disagreement(one: Sample, other: Sample) -> float:
    sd = np.sqrt(np.diag(one.covariance()))[:-2]
    return float(np.max(np.abs(one.mean()[:-2] - other.mean()[:-2]) / sd))


def _left_out(
    module: Module,
    figures: tuple[Figures, ...],
    terms: tuple[Term, ...],
    predict: Mapping[str, emulators.Emulator],
    sample: Sample,
    scales: Scales,
) -> Iterator[LeftOut]:
    """Each trial's figures of an endpoint, its control arm's apart, predicted by a fit without them."""
    wish = module.content.leave_one_out
    if wish is None:
        return
    sizes, effects = module.content.simulation, len(module.content.between_trials.effects)
    emulated = {k: WithoutEffects(e, effects) for k, e in predict.items()}
    for number, (one, term) in enumerate(zip(figures, terms, strict=True)):
        controls = {row.reference for row in one.rows if row.reference is not None}
        hidden = np.array([row.endpoint == wish.endpoint and row.arm not in controls for row in one.rows])
        hidden = np.concatenate([hidden, np.zeros(len(one.later), dtype=bool)])
        if not hidden.any() or hidden.all():
            continue
        kept = _part(term, ~hidden)
        others: dict[str, Callable[[Floats], Floats]] = {
            **emulated,
            one.trial.id: _columns_of(emulated[one.trial.id], ~hidden),
        }
        like = log_likelihood([kept if t is term else t for t in terms], others, scales)
        found = imis(
            log_prior,
            like,
            lambda n, generator: generator.standard_normal((n, len(module.fitted) + 2)),
            wanted=sizes.draws,
            seed=sizes.seed + 100 + number,
            start=sample.mode,
        )
        rng = np.random.default_rng([sizes.seed, 2000 + number])
        x = found.resampled(sizes.draws, rng)
        tau, delta = scales.tau(x[:, -2]), scales.delta(x[:, -1])
        told = emulated[one.trial.id](x[:, :-2])
        own = kept.effects(told[:, ~hidden], tau, delta, rng)
        hides = _part(term, hidden)
        mean = told[:, hidden] + own @ hides.jacobian.T
        noise = rng.standard_normal(mean.shape) @ np.linalg.cholesky(hides.sampling + hides.error).T
        drawn = mean + noise + delta[:, None] * rng.standard_normal(mean.shape)
        for k, name in enumerate(hides.names):
            sd = float(np.sqrt(hides.sampling[k, k]))
            yield LeftOut(one.trial.id, name, float(hides.observed[k]), sd, drawn[:, k], found.ess)


def _part(term: Term, keep: NDArray[np.bool_]) -> Term:
    """Some figures of a term."""
    square = np.ix_(keep, keep)
    names = tuple(name for name, kept in zip(term.names, keep, strict=True) if kept)
    return Term(term.trial, names, term.observed[keep], term.sampling[square], term.error[square], term.jacobian[keep])


def _columns_of(predict: Callable[[Floats], Floats], keep: NDArray[np.bool_]) -> Callable[[Floats], Floats]:
    return lambda z: predict(z)[:, keep]


# -- steps ---------------------------------------------------------------------------------------------------------


def _design(
    module: Module, count: int, sample: Sample | None, effects: Sequence[str], rng: np.random.Generator
) -> Floats:
    """Parameter vectors (count, parameters + effects): scores, then random effects in units of EFFECT_SD."""
    size = len(module.fitted)
    sobol = qmc.Sobol(size + len(effects), rng=rng)
    u = sobol.random(1 << int(np.ceil(np.log2(count))))[:count]
    scores = ndtri(np.clip(u, 1e-6, 1.0 - 1e-6))
    if sample is None:
        z = np.clip(scores[:, :size], -PRIOR_REACH, PRIOR_REACH)
    else:
        root = np.linalg.cholesky(sample.covariance()[:-2, :-2] + 1e-6 * np.eye(size))
        z = np.clip(sample.mean()[:-2] + WIDEN * scores[:, :size] @ root.T, -FURTHEST, FURTHEST)
    return np.concatenate([z, np.clip(scores[:, size:], -PRIOR_REACH, PRIOR_REACH)], axis=1)


def _simulated(
    module: Module, figures: tuple[Figures, ...], base: Mapping[str, Any], design: Floats, name: str, options: Options
) -> dict[str, Floats]:
    size = len(module.fitted)
    effects = {
        effect: EFFECT_SD * design[:, size + k] for k, effect in enumerate(module.content.between_trials.effects)
    }
    by_trial = {
        one.trial.id: {e: v for e, v in effects.items() if e in module.effects(one.trial.id)} for one in figures
    }
    return evaluate(
        figures,
        base,
        module.values(design[:, :size]),
        by_trial,
        random_effects=module.content.between_trials.effects,
        patients=module.content.simulation.patients,
        seed=module.content.simulation.seed,
        name=f"calibrate-{module.id}-{name}",
        folder=options.folder / module.id / name if options.folder is not None else None,
        resume=options.resume,
        threads=options.threads,
        dask=options.dask,
        progress=options.progress,
    )


def _emulator(module: Module, one: Figures, x: Floats, y: Floats) -> emulators.Emulator:
    whole = np.isfinite(y).all(axis=1)
    if whole.mean() < 0.5:
        worst = int(np.isfinite(y).mean(axis=0).argmin())
        raise ModelError(
            f"{one.trial.id}: {one.names[worst]} cannot be computed for {1 - whole.mean():.0%} of the parameter vectors of "
            f"module {module.id}; leave it out, or narrow the priors"
        )
    return emulators.fit(x[whole], y[whole])


@dataclass(frozen=True)
class WithoutEffects:
    """An emulator at random effects of 0; a class, so that it can be sent to another process."""

    emulator: emulators.Emulator
    effects: int

    def __call__(self, z: Floats) -> Floats:
        """Figures (n, figures) at scores (n, parameters)."""
        return self.emulator(np.concatenate([z, np.zeros((len(z), self.effects))], axis=1))


def _term(
    module: Module, one: Figures, sampling: Floats, upstream: Floats, emulator: emulators.Emulator, at: Floats
) -> Term:
    names = module.content.between_trials.effects
    size = len(module.fitted)
    jacobian = np.zeros((len(one.names), len(names)))
    for k, effect in enumerate(names):
        if effect in module.effects(one.trial.id):
            ends = np.tile(np.concatenate([at, np.zeros(len(names))]), (2, 1))
            ends[0, size + k], ends[1, size + k] = -0.5, 0.5
            low, high = emulator(ends)
            jacobian[:, k] = (high - low) / EFFECT_SD * module.entry(one.trial.id).wider
    # Luck is the same for all parameter vectors, so its error is one draw of what a trial of that many patients would have.
    smallest = min(a.n for a in one.trial.content.arms)
    luck = sampling * min(smallest / module.content.simulation.patients, 1.0)
    return Term(
        one.trial.id,
        one.names,
        one.observed,
        weighted(sampling, one.weights),
        luck + upstream + emulator.error,
        jacobian,
    )


def _relative_error(emulator: emulators.Emulator, term: Term) -> float:
    return float(np.max(np.sqrt(np.diag(emulator.error) / np.diag(term.sampling))))


def _centre(module: Module, mode: Floats) -> dict[str, float]:
    return {name: float(v[0]) for name, v in module.values(mode[None, :-2]).items()}


def _sampling(
    module: Module, figures: tuple[Figures, ...], numbers: Mapping[str, Any], mode: Floats | None, options: Options
) -> dict[str, Floats]:
    sizes = module.content.simulation
    options.say(
        f"{module.id}: repetitions of {len(figures)} trials {'at the first best fit' if mode is not None else ''}"
    )
    return {
        one.trial.id: covariance(
            repetitions(one, numbers, module.content.between_trials.effects, sizes.replicates, sizes.seed), one.sds
        )
        for one in figures
    }


def _upstream_spread(
    module: Module,
    figures: tuple[Figures, ...],
    base: Mapping[str, Any],
    upstream: Sequence[Posterior],
    options: Options,
) -> dict[str, Floats]:
    """What the uncertainty of the modules before adds to each trial's figures: their parameters are not fitted again."""
    if not upstream:
        return {one.trial.id: np.zeros((len(one.names), len(one.names))) for one in figures}
    sizes = module.content.simulation
    values: dict[str, Floats] = {}
    for posterior in upstream:
        rows = posterior.rows(UPSTREAM_VECTORS, sizes.seed, 0)
        start = 0
        for name in posterior.parameters:
            size = np.size(base[name])
            block = posterior.draws[rows, start : start + size]
            values[name] = block[:, 0] if np.ndim(base[name]) == 0 else block
            start += size
    zero = {effect: np.zeros(UPSTREAM_VECTORS) for effect in module.content.between_trials.effects}
    found = evaluate(
        figures,
        base,
        values,
        {one.trial.id: zero for one in figures},
        random_effects=module.content.between_trials.effects,
        patients=sizes.patients,
        seed=sizes.seed,
        name=f"calibrate-{module.id}-upstream",
        folder=options.folder / module.id / "upstream" if options.folder is not None else None,
        resume=options.resume,
        threads=options.threads,
        dask=options.dask,
        progress=options.progress,
    )
    spread = {}
    for one in figures:
        told = found[one.trial.id]
        told = told[np.isfinite(told).all(axis=1)]
        spread[one.trial.id] = np.cov(told, rowvar=False).reshape(len(one.names), len(one.names))
    return spread
