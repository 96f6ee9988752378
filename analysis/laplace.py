"""Approximate the likelihood of ordered choices with crossed random effects, with its slopes (Laplace's method).

With standard normal effects u, of evaluators and then of prompts, a rating's latent opinion is shifted by s = A u,
where each row of A holds σ_E at its evaluator and σ_P at its prompt. J(u) is the log-likelihood less u·u / 2, û its
maximum, and D = I + Aᵀ W A its negated curvature there, with W the curvatures w of the ratings. The approximation is

    L = J(û) − log det D / 2.

D is solved by eliminating the more numerous kind of effects, whose own block is diagonal.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evenhand.analysis.clustered import Clusters
from evenhand.analysis.link import densities, log_difference

Floats = NDArray[np.float64]
Pair = tuple[Floats, Floats]  # of evaluators (E,) and of prompts (P,)


@dataclass(frozen=True, eq=False)
class _Point:
    """J and its parts at some effects. Derivatives are of each rating's log-likelihood, each (N,)."""

    joint: float
    above: Floats  # first derivative at the upper edge, a
    below: Floats  # at the lower edge, −b
    second: tuple[Floats, Floats, Floats]  # above twice, above and below, below twice
    curvature_slopes: tuple[Floats, Floats]  # of w, at the upper and at the lower edge
    slopes: Pair  # of J along the effects

    @property
    def curvature(self) -> Floats:
        """w, the negated second derivative along the shift."""
        return -(self.second[0] + 2 * self.second[1] + self.second[2])


@dataclass(frozen=True, eq=False)
class _Inverse:
    """D⁻¹ where ratings meet it, and log det D."""

    groups: Clusters
    corner: Floats  # (E, E) or, with fewer prompts, (P, P)
    edge: Floats  # (E, P) block of D⁻¹
    evaluator: Floats  # diagonal, (E,)
    prompt: Floats  # diagonal, (P,)
    scaled: Floats  # of the elimination
    many: Floats
    log_determinant: float

    def times(self, right: Pair) -> Pair:
        """Solve D x = right."""
        swapped = len(self.evaluator) > len(self.prompt)
        few, many = (right[1], right[0]) if swapped else right
        x = self.corner @ (few - self.scaled @ many)
        y = many / self.many - self.scaled.T @ x
        return (y, x) if swapped else (x, y)


class CrossedIntegral:
    """The log-likelihood with the effects integrated over; effects found once are where the next search begins."""

    def __init__(self, position: NDArray[np.intp], table: Floats, groups: Clusters, basis: Floats, link: str) -> None:
        """Take the category of each rating (N,), covariates (N, P), and the thresholds of the free ones (T, free)."""
        self.position, self.table, self.groups, self.basis, self.link = position, table, groups, basis, link
        self.cell = groups.evaluator * groups.prompts + groups.prompt
        self.effects: Pair = (np.zeros(groups.evaluators), np.zeros(groups.prompts))
        none = np.zeros((1, basis.shape[1]))
        rows = np.vstack([none, basis, none])
        self.upper, self.lower = rows[position + 1], rows[position]  # of the edges' thresholds; 0 at ±∞

    def value_and_slopes(self, parameters: Floats) -> tuple[float, Floats]:
        """Compute L and its slopes along free thresholds, coefficients, σ_E and σ_P; −∞ if thresholds do not ascend."""
        free = self.basis.shape[1]
        edges = np.concatenate([[-math.inf], self.basis @ parameters[:free], [math.inf]])
        if not np.isfinite(parameters).all() or not (np.diff(edges) > 0).all():
            return -math.inf, np.zeros(len(parameters))
        level = self.table @ parameters[free:-2]
        deviations = float(parameters[-2]), float(parameters[-1])
        found = self._mode(edges[self.position + 1] - level, edges[self.position] - level, deviations)
        if found is None:
            return -math.inf, np.zeros(len(parameters))
        point, inverse = found
        return point.joint - inverse.log_determinant / 2, self._slopes(point, inverse, deviations)

    def _mode(self, above: Floats, below: Floats, deviations: tuple[float, float]) -> tuple[_Point, _Inverse] | None:
        """Find the most likely effects by Newton's method with step halving."""
        effects = self.effects
        point = self._point(above, below, deviations, effects)
        for _ in range(60):
            inverse = self._inverse(point.curvature, deviations)
            steps = inverse.times(point.slopes)
            gain = sum(float(slope @ step) for slope, step in zip(point.slopes, steps, strict=True))
            if gain < 1e-18:
                self.effects = effects
                return point, inverse
            size = 1.0
            while True:
                tried = effects[0] + size * steps[0], effects[1] + size * steps[1]
                candidate = self._point(above, below, deviations, tried)
                if candidate.joint >= point.joint - 1e-12 * abs(point.joint) or size < 1e-6:
                    break
                size /= 2
            effects, point = tried, candidate
        self.effects = (np.zeros_like(effects[0]), np.zeros_like(effects[1]))
        return None

    def _sums(self, values: Floats) -> Pair:
        groups = self.groups
        one = np.bincount(groups.evaluator, values, minlength=groups.evaluators)
        other = np.bincount(groups.prompt, values, minlength=groups.prompts)
        return one.astype(np.float64), other.astype(np.float64)

    def _point(self, above: Floats, below: Floats, deviations: tuple[float, float], effects: Pair) -> _Point:
        groups = self.groups
        shift = deviations[0] * effects[0][groups.evaluator] + deviations[1] * effects[1][groups.prompt]
        log_chance = log_difference(above - shift, below - shift, self.link)
        a, a1, a2 = densities(above - shift, log_chance, self.link)
        b, b1, b2 = densities(below - shift, log_chance, self.link)
        # third derivatives of log(F(u) − F(l)): u u u, u u l, u l l, l l l
        third = (
            a2 - 3 * a * a1 + 2 * a**3,
            b * a1 - 2 * a * a * b,
            a * b1 + 2 * a * b * b,
            -b2 - 3 * b * b1 - 2 * b**3,
        )
        sums = self._sums(b - a)
        return _Point(
            joint=float(log_chance.sum()) - sum(float(each @ each) for each in effects) / 2,
            above=a,
            below=-b,
            second=(a1 - a * a, a * b, -b1 - b * b),
            curvature_slopes=(-(third[0] + 2 * third[1] + third[2]), -(third[1] + 2 * third[2] + third[3])),
            slopes=(deviations[0] * sums[0] - effects[0], deviations[1] * sums[1] - effects[1]),
        )

    def _inverse(self, curvature: Floats, deviations: tuple[float, float]) -> _Inverse:
        groups = self.groups
        sums = self._sums(curvature)
        one, other = 1 + deviations[0] ** 2 * sums[0], 1 + deviations[1] ** 2 * sums[1]
        cells = np.bincount(self.cell, curvature, minlength=len(one) * len(other)).reshape(len(one), len(other))
        between = (cells * (deviations[0] * deviations[1])).astype(np.float64)
        swapped = len(one) > len(other)
        few, many, block = (other, one, between.T) if swapped else (one, other, between)
        scaled: Floats = block / many
        complement: Floats = np.diag(few) - scaled @ block.T
        corner: Floats = np.linalg.inv(complement).astype(np.float64)
        edge = -corner @ scaled
        of_few, of_many = np.diag(corner), 1 / many - (scaled * edge).sum(axis=0)
        return _Inverse(
            groups=groups,
            corner=corner,
            edge=edge.T if swapped else edge,
            evaluator=of_many if swapped else of_few,
            prompt=of_few if swapped else of_many,
            scaled=scaled,
            many=many,
            log_determinant=float(np.log(many).sum() + np.linalg.slogdet(complement)[1]),
        )

    def _slopes(self, point: _Point, inverse: _Inverse, deviations: tuple[float, float]) -> Floats:
        """Differentiate L: J directly, log det D through w and σ, and both through û (D dû = d ∂J/∂u)."""
        groups, (sigma_e, sigma_p) = self.groups, deviations
        e, p = groups.evaluator, groups.prompt
        edge = inverse.edge[e, p]
        by_e, by_p = sigma_e * inverse.evaluator[e] + sigma_p * edge, sigma_e * edge + sigma_p * inverse.prompt[p]
        spread = sigma_e * by_e + sigma_p * by_p  # aᵀ D⁻¹ a of each rating
        at_above, at_below = (spread * each for each in point.curvature_slopes)
        pull = self._sums((at_above + at_below) / 2)
        x = inverse.times((sigma_e * pull[0], sigma_p * pull[1]))
        q = sigma_e * x[0][e] + sigma_p * x[1][p]
        uu, ul, ll = point.second
        upward = point.above - at_above / 2 - q * (uu + ul)
        downward = point.below - at_below / 2 - q * (ul + ll)
        slope, w = -(point.above + point.below), point.curvature
        along_shift = slope + (at_above + at_below) / 2 - q * w
        sums = self._sums(slope)
        u = self.effects
        return np.concatenate(
            [
                self.upper.T @ upward + self.lower.T @ downward,
                -self.table.T @ (upward + downward),
                [
                    float(along_shift @ u[0][e] - w @ by_e + x[0] @ sums[0]),
                    float(along_shift @ u[1][p] - w @ by_p + x[1] @ sums[1]),
                ],
            ]
        )
