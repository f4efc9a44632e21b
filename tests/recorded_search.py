"""Searches of nine architectures, which remember what is asked and told."""

import dataclasses

import numpy as np

from nas_keras.controllers import Proposals
from nas_keras.controllers import RandomController
from nas_keras.evaluators.evaluator import Evaluator
from nas_keras.search import FunctionEvaluator
from nas_keras.search import search
from nas_keras.spaces import Choice
from nas_keras.spaces import Space

NUM_TRIALS, BATCH_SIZE = 22, 4


def space_of_nine(decode=None):
    """Of 9 architectures, so that 22 trials meet most of them again."""
    return Space([Choice("a", (0, 1, 2)), Choice("b", (0, 1, 2))], decode)


@dataclasses.dataclass(frozen=True)
class Sum:
    """An architecture of which the order of its parts is of no matter."""

    parts: tuple[int, ...]

    @property
    def fingerprint(self):
        return " + ".join(map(str, sorted(self.parts)))


def score(spec):
    parts = spec.parts if isinstance(spec, Sum) else tuple(spec.values())
    return 1.0 + sum(parts)


class Learning(Evaluator):
    """Remembers all that it is told; with each step it scores higher."""

    def __init__(self, space, fn=score, is_repeatable=True, keeps=True):
        super().__init__(space)
        self.inner = FunctionEvaluator(space, fn)
        self.is_repeatable, self.keeps = is_repeatable, keeps
        self.told, self.asked = [], []
        self.level = 0

    def score(self, architecture, seed):
        self.asked.append(architecture.tokens)
        self.told.append("evaluate")
        reward, _ = self.inner.score(architecture, seed)
        metrics = {"reward_before": reward}
        return reward + self.level * (not self.is_repeatable), metrics

    def config(self):
        return self.inner.config()

    def open(self, folder, step, cluster):
        self.told.append(("open", step))
        self.level = step
        return self.keeps or not step

    def prepare(self, step, controller):
        self.told.append(("prepare", step))
        self.level = step + 1


class Scripted(RandomController):
    """Proposes what it is told to; remembers the rewards that it is fed."""

    def __init__(self, space, rows):
        super().__init__(space)
        self.rows, self.used, self.rewards = np.array(rows, np.int32), 0, []
        self.told = None

    def propose(self, batch_size, rng):
        proposals = super().propose(batch_size, rng)
        rows = self.rows[self.used : self.used + batch_size]
        self.used += batch_size
        missing = batch_size - len(rows)
        rows = np.concatenate([rows, np.zeros((missing, rows.shape[1]), int)])
        if self.told is not None:
            self.told.append("propose")
        rows = rows.astype(np.int32)
        return Proposals(rows, proposals.log_prob, proposals.entropy)

    def feedback(self, proposals, evaluations):
        num = len(proposals.tokens)
        want = self.rows[self.used - num : self.used]
        np.testing.assert_array_equal(proposals.tokens[: len(want)], want)
        self.rewards.append([e.reward for e in evaluations])
        return super().feedback(proposals, evaluations)


def run_search(evaluator, controller=None, workdir=None, **arguments):
    """Returns the trials of a search, random unless a controller is given."""
    controller = controller or RandomController(evaluator.inner.space)
    arguments = {
        "num_trials": NUM_TRIALS, "batch_size": BATCH_SIZE, **arguments
    }  # fmt: skip
    return list(search(controller, evaluator, workdir=workdir, **arguments))


def stop_after(num, evaluator, workdir, **arguments):
    """Runs a search until it has yielded `num` trials."""
    trials = search(
        RandomController(evaluator.inner.space), evaluator, NUM_TRIALS,
        workdir, batch_size=BATCH_SIZE, **arguments,
    )  # fmt: skip
    for _ in range(num):
        next(trials)
    trials.close()


def told_of(trials):
    """Returns all that trials say, but for the times that they took."""
    return [
        (t.id, t.tokens, t.evaluation.reward, t.evaluation.infeasible,
         dict(t.evaluation.metrics), t.same_as)
        for t in trials
    ]  # fmt: skip
