"""Fits loss = E + (A / N^alpha + B / D^beta)^gamma to measured losses. Arrays in, numbers out.

With gamma 1 the law is that of Hoffmann et al. 2022, approach 3: more tokens help a small network as much as a large one. With a
fitted gamma (Busbridge et al. 2025, Distillation Scaling Laws) a small network gains less from tokens.

As there, log(loss) is fitted with Huber's loss from a grid of starts, because the problem has local minima. Levenberg–Marquardt
with Huber weights runs on all starts, and all bootstrap draws, at once. Parameters are x = (log E, log A, log B, alpha, beta) and,
where gamma is fitted, its logarithm: [5] or [6].
"""

from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FitError

Array = NDArray[np.float64]
HUBER = 1e-3  # Hoffmann et al.'s delta, on log(loss)
LARGEST_EXPONENT = 3.0  # published exponents lie between 0.2 and 0.8; far above, the term is a step, not a law


def predict(x: Array, n: Array, d: Array) -> Array:
    """log(loss) [fits, points] of parameters x [fits, 5 or 6] at n parameters and d tokens [points]."""
    logarithms: Array = np.logaddexp(x[:, :1], _gamma(x) * np.logaddexp(*_terms(x, n, d)))
    return logarithms


def fit(n: Array, d: Array, loss: Array, *, joint: bool = False) -> Array:
    """The best x over all starts. joint: fit gamma as well.

    Raises:
        FitError: too few or too narrow points, or exponents that the points leave open.
    """
    check(n, d, loss, joint=joint)
    starts = _starts(loss)
    if joint:
        starts = np.concatenate([np.column_stack([starts, np.full(len(starts), start)]) for start in (0.0, -0.7)])
    x, cost = _minimise(starts, n, d, np.log(loss), np.ones((len(starts), len(n))))
    best: Array = x[np.argmin(cost)]
    if not _sound(best[None])[0]:
        raise FitError(
            f"the best fit has exponents alpha {best[3]:.2f} and beta {best[4]:.2f}, which is no scaling law: over these runs "
            "the loss does not fall with both size and tokens. Widen the ladder, or train each size with a fitting learning rate."
        )
    return best


def bootstrap(n: Array, d: Array, loss: Array, best: Array, *, draws: int, seed: int = 1) -> Array:
    """Fits x [kept, 5 or 6] of runs drawn again with replacement, each from the best fit and two wider starts.

    Raises:
        FitError: more than a fifth of the draws have no sound fit: single runs decide the result.
    """
    draw = np.random.default_rng(seed)
    counts = np.array([np.bincount(draw.integers(len(n), size=len(n)), minlength=len(n)) for _ in range(draws)], dtype=float)
    starts = np.stack([best] * 3)
    starts[1:, :5] = best[:5] * [[1, 1, 1, 0.7, 1.3], [1, 1, 1, 1.3, 0.7]] + [[-0.3, -1, 1, 0, 0], [-0.3, 1, -1, 0, 0]]
    x, cost = _minimise(np.tile(starts, (draws, 1)), n, d, np.log(loss), np.repeat(counts, len(starts), axis=0))
    chosen = np.argmin(cost.reshape(draws, -1), axis=1)
    fits = x.reshape(draws, len(starts), -1)[np.arange(draws), chosen]
    kept: Array = fits[_sound(fits)]
    if len(kept) < 0.8 * draws:
        raise FitError(
            f"{draws - len(kept)} of {draws} fits to runs drawn again have no sound exponents: single runs decide the result. "
            "Add sizes, budgets or seeds."
        )
    return kept


def check(n: Array, d: Array, loss: Array, *, joint: bool = False) -> None:
    """Refuse points that cannot determine five parameters, or six."""
    least = ("six", "eight", "twelve") if joint else ("five", "seven", "nine")
    if len(loss) < 7 + joint:
        raise FitError(
            f"{len(loss)} runs with a loss cannot determine {least[0]} parameters: {least[1]} are the least, {least[2]} are better."
        )
    for name, values in (("sizes", n), ("token budgets", d)):
        if len(np.unique(values)) < 3:
            raise FitError(f"the runs with a loss have only {len(np.unique(values))} different {name}; three are the least.")
        if values.max() < 3 * values.min():
            raise FitError(
                f"the {name} span only a factor of {values.max() / values.min():.2g}; below 3 the noise decides the exponent."
            )


def _sound(x: Array) -> NDArray[np.bool_]:
    exponents = x[:, 3:5]
    sound = np.isfinite(x).all(1) & (exponents > 1e-3).all(1) & (exponents < LARGEST_EXPONENT).all(1)
    return np.asarray(sound)


def _terms(x: Array, n: Array, d: Array) -> Array:
    """Logarithms of the terms of size and of tokens, before gamma, [2, fits, points]."""
    a, b, alpha, beta = (column[:, None] for column in x.T[1:5])
    return np.stack([a - alpha * np.log(n), b - beta * np.log(d)])


def _gamma(x: Array) -> Array:
    gamma: Array = np.exp(x[:, 5:6]) if x.shape[1] == 6 else np.ones((len(x), 1))
    return gamma


def _jacobian(x: Array, n: Array, d: Array, logarithms: Array) -> Array:
    """Derivatives by x of `logarithms`, what `predict` gives for it: [fits, points, 5 or 6]."""
    terms = _terms(x, n, d)
    both = np.logaddexp(*terms)
    share = np.exp(_gamma(x) * both - logarithms) * _gamma(x)
    of_size, of_tokens = share * np.exp(terms - both)
    columns = [np.exp(x[:, :1] - logarithms), of_size, of_tokens, -of_size * np.log(n), -of_tokens * np.log(d), share * both]
    return np.stack(columns[: x.shape[1]], axis=2)


def _starts(loss: Array) -> Array:
    """A grid as in the paper's appendix D.3, with E at fractions of the least loss."""
    low = float(np.log(loss.min()))
    grid = product((low - 3, low - 1, low - 0.2), (0.0, 5.0, 10.0), (0.0, 5.0, 10.0), (0.2, 0.5, 1.0), (0.2, 0.5, 1.0))
    return np.array(list(grid))


def _minimise(x: Array, n: Array, d: Array, target: Array, weights: Array, steps: int = 400) -> tuple[Array, Array]:
    """Levenberg–Marquardt on every row of x at once: (x, cost [fits]). `weights` [fits, points] count each point."""
    damping = np.full(len(x), 1e-2)
    residual = predict(x, n, d) - target
    cost = _huber(residual, weights)
    for _ in range(steps):
        jacobian = _jacobian(x, n, d, residual + target)
        weighted = jacobian * (weights * np.minimum(1, HUBER / np.maximum(np.abs(residual), 1e-12)))[:, :, None]
        normal = np.einsum("fpi,fpj->fij", weighted, jacobian)
        slope = np.einsum("fpi,fp->fi", weighted, residual)
        scale = damping[:, None] * np.einsum("fii->fi", normal) + 1e-9
        step = np.linalg.solve(normal + scale[:, :, None] * np.eye(x.shape[1]), slope[:, :, None])[:, :, 0]
        trial = x - np.clip(step, -2, 2)
        trial_residual = predict(trial, n, d) - target
        trial_cost = _huber(trial_residual, weights)
        better = trial_cost < cost
        gain = np.where(better, cost - trial_cost, 0.0)
        x = np.where(better[:, None], trial, x)
        residual = np.where(better[:, None], trial_residual, residual)
        cost = np.where(better, trial_cost, cost)
        damping = np.clip(np.where(better, damping / 3, damping * 4), 1e-9, 1e9)
        if (gain <= 1e-12 * cost).all() and (damping > 1e6).all():
            break
    return x, cost


def _huber(residual: Array, weights: Array) -> Array:
    size: Any = np.abs(residual)
    each = np.where(size <= HUBER, 0.5 * size**2, HUBER * (size - 0.5 * HUBER))
    total: Array = (weights * each).sum(1)
    return total
