"""What tests of `search()` share: a small problem, runs, what they leave."""

import functools
import json

from nas_keras.controllers import PolicyGradientController
from nas_keras.evaluators.evaluator import Evaluator
from nas_keras.search import FunctionEvaluator
from nas_keras.search import search
from tests import controller_testing

NUM_TRIALS, BATCH_SIZE = 14, 4  # Three updates, and half a batch.


def small_space(num_choices=6, num_options=4):
    return controller_testing.small_space((num_options,) * num_choices)


def one_max(spec):
    """Returns the fraction of choices that are the last option but one."""
    return sum(value == 2 for value in spec.values()) / len(spec)


class Counting(Evaluator):
    """Wraps an evaluator; remembers how often it was asked."""

    def __init__(self, inner):
        super().__init__(inner.space)
        self.inner, self.num_calls = inner, 0

    def score(self, architecture, seed):
        self.num_calls += 1
        return self.inner.score(architecture, seed)

    def config(self):
        return self.inner.config()


def one_max_evaluator(space=None):
    return FunctionEvaluator(space or small_space(), one_max)


@functools.cache
def _compiled():
    controller = PolicyGradientController(small_space(), units=8)
    return controller, controller.state()


def new_controller():
    """Returns a new controller, or one like new: compiling takes seconds."""
    controller, state = _compiled()
    controller.restore(state)
    return controller


def run_search(workdir, num_trials=NUM_TRIALS, evaluator=None, **arguments):
    """Runs a search; returns trials, the controller's state and calls."""
    controller = arguments.pop("controller", None) or new_controller()
    counting = Counting(evaluator or one_max_evaluator())
    arguments = {"batch_size": BATCH_SIZE, **arguments}
    trials = list(
        search(controller, counting, num_trials, workdir, **arguments)
    )
    return trials, controller.state(), counting.num_calls


def stop_after(workdir, num, **arguments):
    """Runs a search until it has yielded `num` trials."""
    trials = search(
        new_controller(), one_max_evaluator(), NUM_TRIALS, workdir,
        batch_size=BATCH_SIZE, **arguments,
    )  # fmt: skip
    for _ in range(num):
        next(trials)
    trials.close()


def records_in(workdir):
    """Returns the journal of a run, but for the times that it took."""
    lines = (workdir / "trials.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    for record in records:
        assert record.pop("elapsed_s") >= 0
    return records


def files_in(folder):
    """Returns the contents of all files but the lock, by their paths."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "lock"
    }


def without_time(trials):
    return [
        (t.id, t.tokens, t.spec, t.evaluation.reward, t.evaluation.infeasible)
        for t in trials
    ]
