"""What tests of reports share: records of a run, and a run's folder of them."""

import json
import pathlib
import tempfile

from absl.testing import parameterized

from nas_keras.report.records import Measure

# What a search of cells says of itself, in its settings and in each record.
MEASURED = {
    "noun": "cell",
    "metric": {"name": "perplexity", "unit": "", "is_more_better": False},
}
PERPLEXITY = Measure("cell", "perplexity", "", is_more_better=False)
EQUATIONS = ["next_c = c + tanh(linear(x))", "next_h = max(next_c, h) * 0.5"]


def json_spec(name="found"):
    return {
        "schema": 1,
        "name": name,
        "states": ["h", "c"],
        "equations": EQUATIONS,
        "provenance": {"space": "tree(base=8)", "tokens": [3, 1]},
    }


def json_trial(number, reward, **changes):
    return {
        "id": number,
        "step": number // 4,
        "row": number % 4,
        "tokens": [number, 1],
        "reward": reward,
        "metrics": {"validation_perplexity": 9.5},
        "elapsed_s": 0.5,
        "infeasible": None if reward is not None else "NaN loss\nat step 3",
        "fingerprint": f"f{number}",
        **changes,
    }


def json_retrained(cell, seed, perplexity, **changes):
    return {
        "cell": cell,
        "origin": "published" if cell == "lstm" else "controller",
        "trial": None if cell == "lstm" else 7,
        "spec": json_spec(cell),
        **MEASURED,
        "is_baseline": cell == "lstm",
        "size": {"units": 64, "parameters": 31_000},
        "seed": seed,
        "metrics": {
            "validation_perplexity": perplexity,
            "test_perplexity": perplexity + 0.5,
        },
        "elapsed_s": 12.0,
        "infeasible": None,
        **changes,
    }


def write_lines(path, records):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(r) + "\n" for r in records))


class RunFolderTest(parameterized.TestCase):
    """Has a folder of its own, and writes what a search of cells leaves."""

    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.workdir = pathlib.Path(folder.name)
        self.num_trials = 40

    def write_run(self):
        rewards = [0.2 + 0.01 * i for i in range(self.num_trials)]
        rewards[4] = None
        trials = [json_trial(i, r) for i, r in enumerate(rewards)]
        chance = [json_trial(i, 0.3) for i in range(self.num_trials)]
        steps = [
            {"step": i, "loss": 0.1, "entropy_nats": 9.0 - i, "baseline": 0.2}
            for i in range(10)
        ]
        retrained = [
            json_retrained("lstm", 0, 8.0),
            json_retrained("found", 0, 7.9),
            json_retrained("lstm", 1, 8.2),
            json_retrained("found", 1, 8.1),
        ]
        write_lines(self.workdir / "trials.jsonl", trials)
        write_lines(self.workdir / "random" / "trials.jsonl", chance)
        write_lines(self.workdir / "steps.jsonl", steps)
        write_lines(self.workdir / "retrained.jsonl", retrained)
        self.write_json("best_cell.json", json_spec())
        config = {
            "run": {"seed": 0, "space": {"base": 8}, "settings": MEASURED},
            "environment": {"python": "3.11.2"},
            "command": "nas-search --preset=demo",
        }
        self.write_json("config.json", config)

    def write_json(self, name, value):
        (self.workdir / name).write_text(json.dumps(value))
