"""Imported first by every stage: makes this checkout's `src/` importable, and the imports that follow quicker."""

import gc
import os
import signal
import sys
from pathlib import Path

# Of this file's own checkout, so that the copies that `dvc exp run --temp` and `--queue` make run their own code.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

# Importing torch makes half a million objects that live on: a collector that keeps visiting them costs half a second.
# `run_stage` freezes them and turns the collector on again.
gc.disable()

# Experiments of DVC's queue run side by side, and threads that spin while they wait take the cores from each other: on two
# cores, two runs at once took 1.9 times as long. A run alone gains a tenth by spinning.
if ".dvc/tmp/exps" in Path.cwd().as_posix():
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# Ctrl-C while the imports go on ends the process without a traceback; `run_stage` answers it from then on.
if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
