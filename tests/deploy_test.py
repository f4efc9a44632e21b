"""Tests of what deploy/ holds, without a cluster: fields, flags, decisions."""

import functools
import json
import os
import pathlib
import re
import signal
import subprocess
import sys

import pytest
import yaml

from nas_keras.distribute import exits
from nas_keras.distribute import topology
from nas_keras.recipes import searches

_ROOT = pathlib.Path(__file__).resolve().parents[1]
_MANIFEST = _ROOT / "deploy" / "kubernetes" / "tfjob.yaml"
_DOCKERFILE = _ROOT / "deploy" / "kubernetes" / "Dockerfile"
_SCRIPT = _ROOT / "deploy" / "slurm" / "search.sbatch"
_STATUSES = {
    exits.DONE,
    exits.FAILED,
    exits.USAGE,
    exits.DISK,
    exits.INTERRUPTED,
    exits.PREEMPTED,
    exits.PEER_LOST,
}

# What stands for Slurm and for nas-search. srun runs its command for each of
# $STATUSES, as the tasks would one after the other, and returns the highest.
_SRUN = """#!/bin/bash
printf '%s\\n' "$@" >"$RECORD/srun"
while [[ $1 == --* ]]; do shift; done
highest=0
for status in $STATUSES; do
  if [[ $status == scancel ]]; then kill -TERM "$PPID"; sleep 0.3; exit 143; fi
  STATUS=$status "$@"
  status=$?
  if ((status > highest)); then highest=$status; fi
done
exit "$highest"
"""
_SEARCH = """#!/bin/bash
printf '%s\\n' "$@" >"$RECORD/nas-search"
if [[ $STATUS == sigterm:* ]]; then
  trap 'sleep 0.1; exit "${STATUS#sigterm:}"' TERM
  kill -TERM "$PPID" "$$"  # Slurm signals all processes of a task.
  sleep 5
fi
exit "$STATUS"
"""
_SCONTROL = """#!/bin/bash
echo "$@" >>"$RECORD/scontrol"
exit "${SCONTROL_STATUS:-0}"
"""


@pytest.fixture(scope="module")
def documents():
    return list(yaml.safe_load_all(_MANIFEST.read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def worker(documents):
    return documents[1]["spec"]["tfReplicaSpecs"]["Worker"]


@pytest.fixture(scope="module")
def container(worker):
    [container] = worker["template"]["spec"]["containers"]
    return container


@functools.cache
def _flags(*arguments):
    """Returns the program's flags, and the configuration they make."""
    code = """
import json, sys
from absl import flags
import train.search
rest = flags.FLAGS(["nas-search", *sys.argv[1:]])[1:]
values = flags.FLAGS.flag_values_dict()
config = train.search.config_from_flags().to_dict()
print(json.dumps([rest, {key: str(values[key]) for key in values}, config]))
"""
    result = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True, text=True, cwd=_ROOT,
        env={**os.environ, "PYTHONPATH": str(_ROOT)},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    rest, values, config = json.loads(result.stdout)
    assert rest == []
    return values, config


def test_the_manifest_is_a_claim_and_a_job(documents):
    assert [(d["apiVersion"], d["kind"]) for d in documents] == [
        ("v1", "PersistentVolumeClaim"),
        ("kubeflow.org/v1", "TFJob"),
    ]
    assert set(documents[1]["spec"]["tfReplicaSpecs"]) == {"Worker"}


def test_the_job_restarts_by_exit_status_and_for_long(documents, worker):
    assert worker["restartPolicy"] == "ExitCode"
    assert "restartPolicy" not in worker["template"]["spec"]
    policy = documents[1]["spec"]["runPolicy"]
    assert policy["cleanPodPolicy"] == "Running"
    assert policy["backoffLimit"] >= 1000


def test_the_statuses_are_on_the_right_side_of_the_policy():
    # ExitCode: 1-127 are permanent, 128-255 start the pod again.
    permanent = {exits.FAILED, exits.USAGE, exits.DISK}
    assert all(0 < status < 128 for status in permanent)
    assert all(
        128 <= status < 256 for status in _STATUSES - permanent - {exits.DONE}
    )


def test_the_workdir_is_on_the_claim_that_many_may_write(
    documents, worker, container
):
    claim = documents[0]
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    [volume] = worker["template"]["spec"]["volumes"]
    name = volume["persistentVolumeClaim"]["claimName"]
    assert name == claim["metadata"]["name"]
    [mount] = container["volumeMounts"]
    assert mount["name"] == volume["name"]
    [workdir] = [a for a in container["args"] if a.startswith("--workdir=")]
    assert workdir.startswith(f"--workdir={mount['mountPath']}/")


def test_the_arguments_are_the_program_s_and_fit_the_resources(
    worker, container
):
    assert container["command"] == ["nas-search"]
    resources = container["resources"]
    assert resources["requests"] == resources["limits"]
    values, config = _flags(*container["args"])
    assert str(config["num_threads"]) == resources["limits"]["cpu"]
    assert values["local_workers"] == "0"
    assert values["preset"] in searches.SEARCHES
    assert 1 < worker["replicas"] <= config["batch_size"]


def test_the_operator_finds_its_container_and_its_port(container):
    assert container["name"] == "tensorflow"
    assert [port["name"] for port in container["ports"]] == ["tfjob-port"]


def test_the_operator_s_tf_config_is_a_topology(documents, worker, container):
    name = documents[1]["metadata"]["name"]
    port = container["ports"][0]["containerPort"]
    addresses = tuple(
        f"{name}-worker-{index}.default.svc:{port}"
        for index in range(worker["replicas"])
    )
    cluster = _flags(*container["args"])[0]["cluster"]
    for index in range(worker["replicas"]):
        config = {
            "cluster": {"worker": addresses},
            "task": {"type": "worker", "index": index},
            "environment": "cloud",
        }
        found = topology.from_environment(
            {"TF_CONFIG": json.dumps(config)}, cluster
        )
        assert found == topology.Topology(addresses, index, "TF_CONFIG")


def test_a_worker_has_time_for_sigterm_and_is_not_root(worker):
    pod = worker["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] >= 5
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["tolerations"]


def test_the_image_has_what_the_package_is_made_of(worker):
    text = _DOCKERFILE.read_text(encoding="utf-8")
    copied = [
        source
        for line in re.findall(r"^COPY (.+)$", text, re.MULTILINE)
        for source in line.split()[:-1]
    ]
    assert all((_ROOT / source).exists() for source in copied)
    setup = (_ROOT / "setup.py").read_text(encoding="utf-8")
    mapped = re.findall(r'"nas_keras\.\S+": "(\w+)",', setup)
    assert {*mapped, "nas_keras", "setup.py", "README.md"} <= set(copied)
    [user] = re.findall(r"^USER (\d+)$", text, re.MULTILINE)
    security = worker["template"]["spec"]["securityContext"]
    assert int(user) == security["runAsUser"] != 0


@pytest.fixture
def sbatch(tmp_path):
    """Returns a function that runs the script as Slurm would."""
    binaries, record = tmp_path / "bin", tmp_path / "record"
    shared = tmp_path / "shared folder"
    for folder in (binaries, record, shared):
        folder.mkdir()
    for name, text in (
        ("srun", _SRUN), ("nas-search", _SEARCH), ("scontrol", _SCONTROL),
    ):  # fmt: skip
        (binaries / name).write_text(text, encoding="utf-8")
        (binaries / name).chmod(0o755)

    def run(statuses, *arguments, **variables):
        result = subprocess.run(
            ["bash", str(_SCRIPT), *arguments],
            capture_output=True, text=True, cwd=tmp_path, timeout=20,
            env={
                "PATH": f"{binaries}:{os.environ['PATH']}",
                "RECORD": str(record),
                "SHARED": str(shared),
                "SLURM_JOB_ID": "123",
                "SLURM_CPUS_PER_TASK": "3",
                "STATUSES": statuses,
                **variables,
            },
        )  # fmt: skip
        assert list(shared.iterdir()) == [] or result.returncode < 0
        return result, {
            path.name: path.read_text(encoding="utf-8").splitlines()
            for path in record.iterdir()
        }

    return run


def test_the_script_is_whole_and_says_what_slurm_needs():
    subprocess.run(["bash", "-n", str(_SCRIPT)], check=True)
    text = _SCRIPT.read_text(encoding="utf-8")
    options = re.findall(r"^#SBATCH (\S+)$", text, re.MULTILINE)
    assert {
        "--requeue", "--open-mode=append", "--signal=TERM@60"
    } < set(options)  # fmt: skip
    # Slurm stops to read options at the first command.
    assert text.rindex("#SBATCH") < text.index("set -u")


def test_the_script_starts_the_search_on_all_tasks(sbatch, tmp_path):
    result, record = sbatch("0 0", "--preset=tiny", "--trials=7")
    assert result.returncode == 0, result.stderr
    assert {
        "--distribution=block", "--kill-on-bad-exit=1", "--cpus-per-task=3"
    } < set(record["srun"])  # fmt: skip
    values, config = _flags(*record["nas-search"])
    assert values["workdir"] == f"{tmp_path}/shared folder/nas-search"
    assert values["cluster"] == "slurm"
    assert (config["num_threads"], config["num_trials"]) == (3, 7)
    assert values["preset"] == "tiny"
    assert "scontrol" not in record


@pytest.mark.parametrize("status", [143, 144, 137])
def test_the_script_queues_again_what_a_restart_helps(sbatch, status):
    result, record = sbatch(f"143 {status}" if status > 143 else f"{status}")
    assert result.returncode == status
    assert record["scontrol"] == ["requeue 123"]
    assert f"status {status}; queueing again, restart 1 of 100." in (
        result.stderr
    )


@pytest.mark.parametrize("status", [0, 1, 2, 74, 130])
def test_the_script_passes_on_what_a_restart_does_not_help(sbatch, status):
    result, record = sbatch(f"{status} {status}")
    assert result.returncode == status
    assert "scontrol" not in record


@pytest.mark.parametrize("statuses", ["2 143 143", "144 2", "137 74 143"])
def test_a_permanent_status_counts_more_than_those_it_causes(sbatch, statuses):
    result, record = sbatch(statuses)
    assert result.returncode in (2, 74)
    assert "scontrol" not in record


@pytest.mark.parametrize("status", [0, 74, 143])
def test_a_task_that_gets_sigterm_ends_as_the_search_does(sbatch, status):
    result, record = sbatch(f"sigterm:{status}")
    assert result.returncode == status
    assert ("scontrol" in record) == (status == 143)


def test_a_cancelled_job_does_not_queue_again(sbatch):
    result, record = sbatch("scancel")
    assert result.returncode == -signal.SIGTERM
    assert "scontrol" not in record


@pytest.mark.parametrize(
    "count, most, is_queued", [("99", "", 1), ("100", "", 0), ("2", "2", 0)]
)
def test_the_script_gives_up_at_last(sbatch, count, most, is_queued):
    variables = {"MAX_RESTARTS": most} if most else {}
    result, record = sbatch("144", SLURM_RESTART_COUNT=count, **variables)
    assert result.returncode == 144
    assert ("scontrol" in record) == is_queued
    if not is_queued:
        assert f"gave up after {count} restarts" in result.stderr


def test_the_status_stays_if_the_job_cannot_be_queued(sbatch):
    result, _ = sbatch("143", SCONTROL_STATUS="1")
    assert result.returncode == 143


def test_the_script_needs_a_shared_folder(sbatch):
    result, record = sbatch("0", SHARED="")
    assert result.returncode != 0
    assert "SHARED: must be a folder that all nodes see" in result.stderr
    result, record = sbatch("0", SHARED="/nowhere")
    assert result.returncode == 74
    assert record == {}


@pytest.mark.parametrize("page", ["deploy/README.md", "docs/distributed.md"])
def test_the_statuses_of_a_page_are_the_program_s(page):
    text = (_ROOT / page).read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \|", text, re.MULTILINE)
    assert sorted(map(int, rows)) == sorted(_STATUSES)


def test_the_statuses_of_the_program_s_help_are_those_it_has():
    text = (_ROOT / "train" / "search.py").read_text(encoding="utf-8")
    told = text.split("Exit status:")[1].split('"""')[0]
    numbers = set(map(int, re.findall(r"\d+", told)))
    assert numbers - {128} == _STATUSES  # "From 128 on …"
