"""A worker of `fault_injection.py`: the search program, with faults in it.

Runs `train/search.py` with the arguments given to it, on a preset of its own
with children of milliseconds, and writes a log of the results that were
kept. The environment says what goes wrong:

  FAULT_KILL_AT=N  kill -9 of itself at the N-th fsync or rename of a file
  FAULT_SLOW=S     seconds that each child takes longer
  FAULT_LOG=PATH   where to log, a line for each thing that happens
"""

import os
import pathlib
import runpy
import signal
import sys
import time

from nas_keras.recipes import searches
from nas_keras.search import loop
from nas_keras.storage import pending

_PROGRAM = pathlib.Path(__file__).resolve().parents[1] / "train" / "search.py"


def _log(*words: object) -> None:
    line = " ".join(map(str, words)) + "\n"
    with open(os.environ["FAULT_LOG"], "a", encoding="utf-8") as file:
        file.write(line)


def _count_writes(kill_at: int) -> None:
    """Makes fsync and rename count, and one of them fatal."""
    num = 0

    def counted(call):
        def wrapper(*arguments):
            nonlocal num
            num += 1
            if num == kill_at:
                _log("killed", os.getpid(), call.__name__, arguments[-1])
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*arguments)

        return wrapper

    os.fsync, os.replace = counted(os.fsync), counted(os.replace)


def _log_results() -> None:
    """Logs every result before it is made and once it is on disk."""
    write, share_out = pending.Pending.write, loop.share_out

    def logged_write(self, key, record):
        write(self, key, record)
        _log("kept", self._folder, key)

    def logged_share_out(items, evaluate, cluster, pending, key, on_shares):
        def logged_evaluate(item):
            _log("begun", pending._folder if pending else None, key(item))
            time.sleep(float(os.environ.get("FAULT_SLOW", "0")))
            return evaluate(item)

        return share_out(
            items, logged_evaluate, cluster, pending, key, on_shares
        )

    pending.Pending.write = logged_write
    loop.share_out = logged_share_out


def main() -> None:
    """Runs the program."""
    tiny = searches.SEARCHES["tiny"]
    searches.SEARCHES["faults"] = tiny.replace(
        preset="faults",
        num_trials=24,
        batch_size=4,
        child=tiny.child.replace(units=32, num_updates=100),
    )
    _count_writes(int(os.environ.get("FAULT_KILL_AT", "0")))
    _log_results()
    sys.argv = [str(_PROGRAM), *sys.argv[1:]]
    runpy.run_path(str(_PROGRAM), run_name="__main__")


if __name__ == "__main__":
    main()
