"""Searches of several processes: the same results, whatever happens.

Nothing short of processes can be killed, or meet.
"""

import json
import os
import pathlib
import re
import signal
import socket
import textwrap
import time

import numpy as np
import pytest

from nas_keras import report
from nas_keras.controllers import RandomController
from nas_keras.distribute.cluster import check_dataset
from nas_keras.search import FunctionEvaluator
from nas_keras.search import search
from nas_keras.spaces import Choice
from nas_keras.spaces import Space
from tests import forked

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_PROGRAM = _ROOT / "train" / "search.py"

# A search of 8 trials a step. Each worker prints what it was yielded and the
# weights it ends with.
_WORKER = """
    import json, pathlib, sys, time
    from nas_keras.controllers import PolicyGradientController
    from nas_keras.search import Cluster, FunctionEvaluator, search
    from nas_keras.spaces import Choice, Space

    def score(spec):
        time.sleep(float(sys.argv[2]) * (1 + 2 * (cluster.index == 1)))
        if spec["choice_0"] == 3:
            raise RuntimeError("three")
        return sum(value == 2 for value in spec.values()) / len(spec)

    workdir = sys.argv[1] or None
    space = Space([Choice(f"choice_{k}", (0, 1, 2, 3)) for k in range(6)])
    with Cluster.from_environment(wait_s=600) as cluster:
        controller = PolicyGradientController(
            space, units=8, num_layers=1,
            seed=int(sys.argv[4]) * cluster.index,
        )
        trials = search(
            controller, FunctionEvaluator(space, score), int(sys.argv[3]),
            workdir, batch_size=4, cluster=cluster,
        )
        yielded = [
            [t.id, t.tokens, t.evaluation.reward, t.evaluation.infeasible]
            for t in trials
        ]
        state = {k: v.tolist() for k, v in controller.state().items()}
        print(json.dumps([yielded, state]))
"""


def _space():
    return Space([Choice("which", (0, 1))])


def _environment(index=0, addresses=()):
    environment = {**os.environ, "PYTHONPATH": str(_ROOT)}
    environment.pop("TF_CONFIG", None)
    if addresses:
        environment["TF_CONFIG"] = json.dumps(
            {
                "cluster": {"worker": list(addresses)},
                "task": {"type": "worker", "index": index},
            }
        )
    return environment


def _addresses(num):
    servers = [socket.create_server(("localhost", 0)) for _ in range(num)]
    addresses = [f"localhost:{s.getsockname()[1]}" for s in servers]
    for server in servers:
        server.close()
    return addresses


def _start(num, workdir="", sleep_s=0.0, num_trials=14, seed_of_others=0):
    arguments = (workdir, sleep_s, num_trials, seed_of_others)
    return _start_program(_WORKER, arguments, num)


def _start_program(text, arguments, num):
    addresses = _addresses(num) if num > 1 else ()
    command = ("-c", textwrap.dedent(text), *arguments)
    return [
        forked.start(*command, env=_environment(index, addresses))
        for index in range(num)
    ]


def _ended(workers):
    """Returns status, output and errors of each."""
    found = []
    for worker in workers:
        output, errors = worker.communicate()
        found.append((worker.returncode, output, errors))
    return found


def _outputs(workers):
    outputs = []
    for status, output, errors in _ended(workers):
        assert status == 0, errors
        outputs.append(json.loads(output))
    return outputs


def _records(path):
    records = [json.loads(line) for line in path.read_text().splitlines()]
    for record in records:
        assert record.pop("elapsed_s") >= 0
    return records


def _snapshot(workdir):
    (*_, path) = sorted((workdir / "checkpoints").glob("*.npz"))
    return path.read_bytes()


def _assert_same(folder, want):
    for part in ("", "random"):
        for name in ("trials.jsonl", "retrained.jsonl"):
            if (want / part / name).exists():
                got = _records(folder / part / name)
                assert got == _records(want / part / name)
        got, wanted = (f / part / "steps.jsonl" for f in (folder, want))
        if wanted.exists():
            assert got.read_bytes() == wanted.read_bytes()
            assert _snapshot(folder / part) == _snapshot(want / part)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Returns the workdir and the output of one process."""
    workdir = tmp_path_factory.mktemp("alone") / "run"
    return workdir, _outputs(_start(1, workdir))[0]


def test_the_number_of_workers_is_not_part_of_the_result(tmp_path, alone):
    num = 3  # They do not divide a step's children.
    want_workdir, want = alone
    workdir = tmp_path / "run"
    sleep_s = 0.05
    for output in _outputs(_start(num, workdir, sleep_s)):
        assert output == want  # Trials and weights, on every worker.
    _assert_same(workdir, want_workdir)
    shares = report.read_run(workdir).shares
    assert [share.num_items for share in shares[:3]] == [(1, 1, 2)] * 3
    assert sum(sum(share.num_items) for share in shares) == 14
    # Worker 1 sleeps for three times as long: that is counted, and as its own.
    sleeps_s = [sleep_s, 3 * sleep_s, sleep_s]
    for share in shares:
        for its in zip(share.num_items, share.busy_s, sleeps_s, strict=True):
            num_items, busy_s, child_s = its
            assert busy_s >= num_items * child_s


def test_the_number_of_workers_may_change_when_all_are_killed(tmp_path, alone):
    want_workdir, want = alone
    workdir = tmp_path / "run"
    workers = _start(2, workdir, sleep_s=0.4)
    deadline = time.monotonic() + 600
    while (
        not list((workdir / "pending").glob("*.mark"))
        or not (workdir / "checkpoints" / "manifest.json").exists()
    ):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    for worker in workers:
        worker.kill()
    _ended(workers)
    num_pending = len(list((workdir / "pending").glob("*.mark")))
    num_finished = len(_records(workdir / "trials.jsonl")) + num_pending
    assert num_pending
    (output,) = _outputs(_start(1, workdir))
    assert output == want
    _assert_same(workdir, want_workdir)
    assert not list((workdir / "pending").iterdir())
    assert num_finished < 14


def test_workers_need_no_workdir(alone):
    for output in _outputs(_start(2)):
        assert output == alone[1]


def test_workers_of_other_arguments_are_named(tmp_path):
    for status, _, errors in _ended(_start(2, tmp_path, seed_of_others=1)):
        assert status == 1
        assert re.search(
            "ValueError: The configuration must be the same on all workers. "
            r"Received: another one on the workers \[1\] than on the chief.",
            errors,
        )
    assert not list(tmp_path.iterdir())


def test_a_batch_must_have_a_child_for_each_worker():
    class Three:
        size = 3

    evaluator = FunctionEvaluator(_space(), lambda spec: 0.0)
    with pytest.raises(ValueError, match="number of workers, 3. Received: "
                       "batch_size=2"):  # fmt: skip
        search(RandomController(_space()), evaluator, 4, batch_size=2,
               cluster=Three())  # fmt: skip


# Shared weights: each worker trains on its part of every minibatch.

# Searches of 4 trials a step, with phases before trials 0 and 8. Each worker
# prints its rewards, the weights that it ends with, and its random generators.
# Arguments: the workdir; the dropout; after how many trials a worker is killed;
# which, or -1; whether XLA compiles, 0 or 1.
_SHARED = """
    import json, os, signal, sys
    import numpy as np
    from nas_keras.controllers import PolicyGradientController
    from nas_keras.data.text import build_corpus
    from nas_keras.search import Cluster, SharedWeights, search
    from nas_keras.spaces import enas_recurrent_space
    from nas_keras.tasks import LanguageModelConfig, LanguageModelTask

    workdir, dropout, stop, victim, xla = sys.argv[1], *map(float, sys.argv[2:])
    sentence = "the cell reads one word, then the next, and forgets a third. "
    lines = (sentence[k % 7 :] for k in range(60))
    corpus = build_corpus("\\n".join(lines), "char", name="sentences")
    config = LanguageModelConfig(
        units=5, batch_size=4, num_steps=6, num_updates=8, optimizer="adam",
        init_scale=0.4, learning_rate=0.02, clip_norm=0.3, jit_compile=xla == 1,
        input_dropout=dropout, recurrent_dropout=dropout,
    )
    space = enas_recurrent_space(2)

    def trials():
        controller = PolicyGradientController(space, units=4, num_layers=1)
        return search(
            controller, shared, 14, workdir, batch_size=4, cluster=cluster
        )

    with Cluster.from_environment(wait_s=600) as cluster:
        shared = SharedWeights(
            space, LanguageModelTask(config, corpus), num_phases=2,
            steps_per_phase=2,
        )
        begun = trials()
        for _ in range(int(stop)):
            next(begun)
        if cluster.index == victim:
            os.kill(os.getpid(), signal.SIGKILL)
        found = [
            [t.id, t.tokens, t.evaluation.reward, t.same_as] for t in begun
        ]
        weights = shared._weights
        variables = [*weights._variables, *weights._optimizer.variables]
        print(json.dumps([
            found,
            [np.array(v, np.float64).ravel().tolist() for v in variables],
            [np.array(v).tolist() for v in weights._all_variables()
             if v.name == "seed_generator_state"],
        ]))
"""


def _start_shared(num, workdir, dropout=0.0, stop=0, victim=-1, xla=0):
    arguments = (workdir, dropout, stop, victim, xla)
    return _start_program(_SHARED, arguments, num)


def test_workers_that_share_weights_agree_with_one(tmp_path):
    (want,) = _outputs(_start_shared(1, tmp_path / "one"))
    outputs = _outputs(_start_shared(2, tmp_path / "two", xla=1))
    assert outputs[0][:2] == outputs[1][:2]  # Bit for bit.
    trials, variables, _ = outputs[0]
    want_trials, want_variables, _ = want
    assert [t[:2] for t in trials] == [t[:2] for t in want_trials]
    np.testing.assert_allclose(
        [t[2] for t in trials], [t[2] for t in want_trials], rtol=1e-4
    )
    for got, wanted in zip(variables, want_variables, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-4)
    records = _records(tmp_path / "two" / "trials.jsonl")
    assert [r["reward"] for r in records] == [t[2] for t in trials]


def test_workers_that_share_weights_go_on_as_if_never_stopped(tmp_path):
    """With dropout, whose masks are each worker's own, before and after."""
    want = _outputs(_start_shared(2, tmp_path / "want", 0.4))
    assert want[0][:2] == want[1][:2]
    assert want[0][2] != want[1][2]
    killed = _ended(_start_shared(2, tmp_path / "killed", 0.4, 6, 1))
    assert killed[1][0] == -signal.SIGKILL
    assert killed[0][0] == 1
    assert "PeerLostError: worker 1 is lost" in killed[0][2]
    assert len(_records(tmp_path / "killed" / "trials.jsonl")) >= 8
    assert _outputs(_start_shared(2, tmp_path / "killed", 0.4)) == want
    _assert_same(tmp_path / "killed", tmp_path / "want")


def test_several_workers_do_not_read_what_tensorflow_reads():
    for dataset, num_workers in (("tfds:mnist", 1), ("digits", 2), ("ptb", 2)):
        check_dataset(dataset, num_workers)
    for dataset in ("tfds:mnist", "cifar10", "tiny_shakespeare"):
        with pytest.raises(ValueError) as caught:
            check_dataset(dataset, 2)
        assert str(caught.value) == (
            "Several workers read files or embedded data, not TensorFlow "
            "Datasets: write the set to a folder of files first. Received: "
            f"dataset={dataset!r} for 2 workers."
        )


# The program.


def test_workers_that_are_not_told_end_by_themselves(tmp_path):
    """SIGTERM: 143. Its peer is lost: 144."""
    addresses = _addresses(2)
    workers = []
    for index in range(2):
        workers.append(
            forked.start(
                _PROGRAM, "--preset=tiny", "--workdir=run", "--noreport",
                "--trials=100000",
                cwd=tmp_path, env=_environment(index, addresses),
            )
        )  # fmt: skip
    while not (tmp_path / "run" / "trials.jsonl").exists():
        assert all(worker.poll() is None for worker in workers)
        time.sleep(0.01)
    workers[1].send_signal(signal.SIGTERM)
    (chief, told) = _ended(workers)
    assert told[0] == 143
    assert chief[0] == 144
    assert "nas-search: stopped by SIGTERM; what is finished is kept" in told[2]
    assert "nas-search: worker 1 is lost" in chief[2]
    assert len(_records(tmp_path / "run" / "trials.jsonl")) >= 2


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("{", "TF_CONFIG must be JSON"),
        (
            {"cluster": {"worker": ["a:1", "b:1"]},
             "task": {"type": "worker", "index": 2}},
            "TF_CONFIG: task.index must be from 0 to 1",
        ),
        (
            {"cluster": {"worker": ["a:1", "a:1"]},
             "task": {"type": "worker", "index": 0}},
            "TF_CONFIG: each worker must have an address of its own. Received "
            "twice: a:1.",
        ),
        (
            {"cluster": {"worker": ["a:1", "b:1", "c:1"]},
             "task": {"type": "worker", "index": 0}},
            "at most as many workers as children of an update, 2. Received: 3",
        ),
    ],
)  # fmt: skip
def test_a_wrong_environment_is_told_at_once(config, message, tmp_path):
    text = config if isinstance(config, str) else json.dumps(config)
    result = forked.run(
        _PROGRAM, "--preset=tiny", "--workdir=run", "--noreport",
        cwd=tmp_path, env={**_environment(), "TF_CONFIG": text},
    )  # fmt: skip
    assert result.returncode == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())
