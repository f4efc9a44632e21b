"""The runs that `search_quality` compares: each is a folder and can be resumed.

A job has a name, such as `scratch-tree-ppo-3`, which says what it is and where
its folder is. Jobs are independent, so they can run side by side; one that is
done leaves a `cost.json` with the CPU seconds of its process.
"""

import dataclasses
import json
import time
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nas_keras.cells.language.spec import CellSpec
from nas_keras.controllers import Controller
from nas_keras.controllers import FrozenController
from nas_keras.controllers import PolicyGradientController
from nas_keras.controllers import RandomController
from nas_keras.data.text import Corpus
from nas_keras.evaluators.evaluator import Evaluator
from nas_keras.experiment.config import SearchConfig
from nas_keras.experiment.finals import Candidate
from nas_keras.experiment.finals import retrain
from nas_keras.recipes.searches import SEARCHES
from nas_keras.search import ChildTrainer
from nas_keras.search import Cluster
from nas_keras.search import SharedWeights
from nas_keras.search import search
from nas_keras.search.workdir import held
from nas_keras.spaces import Space
from nas_keras.spaces import enas_recurrent_space
from nas_keras.spaces import tree_space
from nas_keras.storage.files import write_json
from nas_keras.tasks import LanguageModelTask

# Of each space: how it is made, and updates of shared weights in all phases.
SPACES = {
    "tree": lambda: tree_space(8),
    "extended": lambda: tree_space(
        8,
        combines=("add", "mul", "max"),
        activations=("identity", "tanh", "sigmoid", "relu", "sin"),
    ),
    "enas": lambda: enas_recurrent_space(6),
}
# Arguments of the controller and children of an update, tuned on the seeds 100
# to 103; see docs/results.md.
CONTROLLERS: dict[str, tuple[dict[str, Any], int]] = {
    "reinforce": ({"loss": "reinforce", "learning_rate": 0.01}, 5),
    "ppo": (
        {
            "loss": "ppo",
            "learning_rate": 0.01,
            "num_epochs": 4,
            "num_minibatches": 4,
        },
        20,
    ),
    "random": ({}, 5),
}
# Apart, or an untrained controller begins with the samples of random search.
_NOISE_SEEDS = {"reinforce": 0, "ppo": 1_000_003, "random": 2_000_003}
_EVALUATION_SEED = 0  # The same children whoever proposes them.
_MAX_FAILURES = 50  # Random children of shared weights often diverge.
# Of the searches with shared weights.
_SHARED_TRIALS = 2_000
_SHARED_BATCH = 10
_PHASES = 20
_STEPS_PER_PHASE = 10
_SHARED_UPDATES = 4_000
_DERIVED = 100


@dataclasses.dataclass(frozen=True)
class Job:
    """One run.

    Attributes:
        kind: `"scratch"`, a search with children trained from scratch;
            `"shared"`, one with shared weights; or `"ranks"`, the same random
            architectures scored in three ways.
        space: A key of `SPACES`.
        algorithm: A key of `CONTROLLERS`.
        seed: Of controller and noise.
    """

    kind: str
    space: str
    algorithm: str
    seed: int

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.space}-{self.algorithm}-{self.seed}"

    @classmethod
    def of_name(cls, name: str) -> "Job":
        kind, space, algorithm, seed = name.split("-")
        return cls(kind, space, algorithm, int(seed))


@dataclasses.dataclass(frozen=True)
class Setting:
    """What all jobs have in common.

    Attributes:
        folder: Of all jobs.
        preset: Name of the search whose children and finals are trained.
        corpus: The text.
        children: Of each search from scratch.
        top: Best distinct cells of each search to retrain, with one seed.
        sample: Random architectures of the rank correlation.
    """

    folder: Path
    preset: str
    corpus: Corpus
    children: int
    top: int
    sample: int

    @property
    def config(self) -> SearchConfig:
        return SEARCHES[self.preset]

    def path(self, job: Job) -> Path:
        return self.folder / job.name


def is_done(folder: Path) -> bool:
    """Returns whether a job's folder holds all of its results."""
    return (folder / "cost.json").exists()


def run(setting: Setting, job: Job) -> None:
    """Runs a job to its end, or goes on with it."""
    folder = setting.path(job)
    if is_done(folder):
        return
    space = SPACES[job.space]()
    controller = _controller(job, space)
    if job.kind == "scratch":
        candidates = _from_scratch(setting, job, space, controller)
    elif job.kind == "shared":
        candidates = _shared(setting, job, space, controller)
    else:
        candidates = _ranks(setting, job, space)
    searched_s = time.process_time()
    train(setting, candidates, 1, folder)
    cost = {"search_s": searched_s, "all_s": time.process_time()}
    write_json(folder / "cost.json", cost)


def train(
    setting: Setting, candidates: Sequence[Candidate], seeds: int, folder: Path
) -> list[dict[str, Any]]:
    """Trains cells from scratch in the recipe of the finals."""
    finals = setting.config.finals
    cluster = Cluster()
    with held(folder / "top", cluster):
        return list(
            retrain(
                candidates,
                LanguageModelTask(finals.training, setting.corpus),
                finals.parameters,
                seeds,
                folder / "top",
                cluster,
                lambda place, record: None,
            )
        )


def train_final(setting: Setting, spec: CellSpec, seeds: int) -> None:
    """Trains one cell with several seeds, in a folder of its name."""
    folder = setting.folder / f"final-{spec.name}"
    if not is_done(folder):
        train(setting, [Candidate(spec, "published")], seeds, folder)
        write_json(folder / "cost.json", {"all_s": time.process_time()})


def _controller(job: Job, space: Space) -> Controller:
    if job.algorithm == "random":
        return RandomController(space)
    arguments, _ = CONTROLLERS[job.algorithm]
    return PolicyGradientController(space, seed=job.seed, **arguments)


def _child_trainer(setting: Setting, space: Space) -> ChildTrainer:
    task = LanguageModelTask(setting.config.child, setting.corpus)
    return ChildTrainer(space, task, "c/ppl", 1.0)


def _from_scratch(
    setting: Setting, job: Job, space: Space, controller: Controller
) -> list[Candidate]:
    trials = search(
        controller,
        _child_trainer(setting, space),
        setting.children,
        setting.path(job),
        batch_size=CONTROLLERS[job.algorithm][1],
        seed=_NOISE_SEEDS[job.algorithm] + job.seed,
        evaluation_seed=_EVALUATION_SEED,
        max_consecutive_failures=_MAX_FAILURES,
    )
    return _best(trials, setting.top)


def _shared_weights(setting: Setting, space: Space, seed: int) -> SharedWeights:
    child = setting.config.child.replace(
        num_updates=_SHARED_UPDATES if setting.preset == "demo" else 20,
        learning_rate=5e-3,
        max_validation_tokens=0,
    )
    return SharedWeights(
        space,
        LanguageModelTask(child, setting.corpus),
        "c/ppl",
        1.0,
        num_phases=_PHASES,
        steps_per_phase=_STEPS_PER_PHASE,
        windows_per_reward=4,
        seed=seed,
    )


def _shared(
    setting: Setting, job: Job, space: Space, controller: Controller
) -> list[Candidate]:
    shared = _shared_weights(setting, space, job.seed)
    for _ in search(
        controller,
        shared,
        _SHARED_TRIALS,
        setting.path(job),
        batch_size=_SHARED_BATCH,
        seed=_NOISE_SEEDS[job.algorithm] + job.seed,
        max_consecutive_failures=_MAX_FAILURES,
    ):
        pass
    derived = search(
        FrozenController(controller),
        shared.scorer(),
        _DERIVED,
        setting.path(job) / "derived",
        batch_size=_SHARED_BATCH,
        seed=_NOISE_SEEDS[job.algorithm] + job.seed + 500_000,
        max_consecutive_failures=_DERIVED,
    )
    return _best(derived, setting.top)


def _ranks(setting: Setting, job: Job, space: Space) -> list[Candidate]:
    """Scores random architectures by shared weights and from scratch.

    The weights are trained on random architectures, all at once.
    """
    shared = _shared_weights(setting, space, job.seed)
    for step in range(0, _PHASES * _STEPS_PER_PHASE, _STEPS_PER_PHASE):
        shared.prepare(step, RandomController(space))
    scratch = _child_trainer(setting, space)
    rewards: dict[str, list[float | None]] = {"shared": [], "scratch": []}
    rows = RandomController(space).propose(
        setting.sample, np.random.default_rng(job.seed)
    )
    evaluators: dict[str, Evaluator] = {
        "shared": shared.scorer(),
        "scratch": scratch,
    }
    for name, evaluator in evaluators.items():
        evaluations = evaluator.evaluate(rows.tokens, _EVALUATION_SEED)
        rewards[name] = [e.reward for e in evaluations]
    folder = setting.path(job)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "rewards.json", rewards)
    return [
        Candidate(space.decode(row), "random", index)
        for index, row in enumerate(rows.tokens.tolist())
    ]


def _best(trials: Any, num: int) -> list[Candidate]:
    """Returns the best distinct cells, each with its reward."""
    found: dict[str, Candidate] = {}
    feasible = [t for t in trials if t.evaluation.reward is not None]
    for trial in sorted(feasible, key=lambda t: -t.evaluation.reward):
        if len(found) < num and trial.spec.fingerprint not in found:
            found[trial.spec.fingerprint] = Candidate(
                trial.spec, "controller", trial.id, trial.evaluation.reward
            )
    return list(found.values())


def read_trials(folder: Path) -> list[dict[str, Any]]:
    """Returns the trials of a search, in the order of their ids."""
    return _read_lines(folder / "trials.jsonl")


def read_retrained(folder: Path) -> list[dict[str, Any]]:
    """Returns the cells of a job that were trained to the end."""
    return _read_lines(folder / "top" / "retrained.jsonl")


def read_cost(folder: Path) -> dict[str, float]:
    """Returns CPU seconds of the job's last process."""
    return json.loads((folder / "cost.json").read_text())


def read_rewards(folder: Path) -> dict[str, list[float | None]]:
    """Returns the rewards of a job of ranks by way of scoring."""
    return json.loads((folder / "rewards.json").read_text())


def loss_of(record: Mapping[str, Any], split: str = "validation") -> float:
    """Returns the loss in nats of a cell that was trained anew."""
    return record["metrics"][f"{split}_loss_nats"]


def feasible(
    records: Iterable[Mapping[str, Any]],
) -> list[Mapping[str, Any]]:
    """Returns the trainings that did not fail."""
    return [record for record in records if record["infeasible"] is None]


def _read_lines(path: Path) -> list[dict[str, Any]]:
    text = path.read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]
