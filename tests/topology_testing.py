"""What tests of topologies share: what TF_CONFIG and Slurm's variables say."""

import json

from nas_keras.distribute.topology import from_environment


def tf_config(workers=("a:1", "b:2", "c:3"), kind="worker", index=0, **jobs):
    cluster = {"worker": list(workers), **jobs}
    if not workers:
        del cluster["worker"]
    return {"cluster": cluster, "task": {"type": kind, "index": index}}


def read(value, resolver="auto"):
    text = value if isinstance(value, str) else json.dumps(value)
    return from_environment({"TF_CONFIG": text}, resolver)


def slurm(
    hosts="a1,a2",
    counts="1(x2)",
    rank=0,
    place=None,
    num_tasks=2,
    job=123_456,
    **variables,
):
    node, local = (rank, 0) if place is None else place
    environ = {
        "SLURM_STEP_NUM_TASKS": num_tasks,
        "SLURM_STEP_NODELIST": hosts,
        "SLURM_STEP_TASKS_PER_NODE": counts,
        "SLURM_PROCID": rank,
        "SLURM_NODEID": node,
        "SLURM_LOCALID": local,
        "SLURM_JOB_ID": job,
        **variables,
    }
    return {name: str(value) for name, value in environ.items()}
