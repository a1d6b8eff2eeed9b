"""A small DVC project with every kind of stage that a pipeline may have."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

TOOL = """
import os, sys, time
outs, ins = sys.argv[1].split(","), sys.argv[2:]
time.sleep(float(os.environ.get("SLEEP", "0")) + 2 * (os.environ.get("LATE") in outs))
text = ""
for name in ins:
    if os.path.isdir(name):
        for base, _, files in sorted(os.walk(name)):
            for file in sorted(files):
                if not file.startswith("."):
                    text += open(os.path.join(base, file)).read()
    else:
        text += open(name).read() if os.path.exists(name) else name + "\\n"
if "fail" in ins and os.path.exists("broken"):
    sys.exit("this stage is broken")
for out in outs:
    os.makedirs(os.path.dirname(out) or ".", exist_ok=True)
    with open(out, "w") as file:
        short = {".json": '{"n": %d}', ".csv": "x,y\\n1,%d\\n"}.get(os.path.splitext(out)[1])
        file.write(short % len(text) if short else text + out + "\\n")
print("wrote", *outs)
"""
PIPELINE = """
stages:
  zlast:
    cmd: python tool.py last.txt all.txt report.txt sub/inner.txt sub/w/wd.txt always.txt alone.txt
    deps: [tool.py, all.txt, report.txt, sub/inner.txt, sub/w/wd.txt, always.txt, alone.txt]
    outs: [last.txt]
  prepare:
    cmd: python tool.py data/a.txt,metrics/prepare.json,data/d/x raw.csv rawdir ${prepare.lr}
    deps: [tool.py, raw.csv, rawdir]
    params: [prepare]
    outs: [data/a.txt, data/d]
    metrics: [{metrics/prepare.json: {cache: false}}]
  part:
    foreach: ${items}
    do:
      cmd: python tool.py parts/${item}.txt,plots/parts/${item}.csv data/a.txt data/d ${item} fail
      deps: [tool.py, data/a.txt, data/d]
      params: [k]
      outs: ["parts/${item}.txt"]
      plots: ["plots/parts/${item}.csv": {cache: false}]
  all:
    cmd:
      - python tool.py all.txt parts plots/parts
      - cp tool.py copied.py
    deps: [tool.py, parts, plots/parts]
    outs: [all.txt, copied.py]
  report:
    cmd: python tool.py report.txt,side.txt data/a.txt metrics/prepare.json
    deps: [tool.py, data/a.txt, metrics/prepare.json]
    outs: [{report.txt: {cache: false}}, side.txt]
  wd:
    wdir: sub/w
    cmd: python ../../tool.py wd.txt ../../report.txt
    deps: [../../tool.py, ../../report.txt]
    outs: [wd.txt]
  always:
    cmd: python tool.py always.txt data/a.txt
    deps: [data/a.txt]
    outs: [always.txt]
    always_changed: true
  alone:
    cmd: python tool.py alone.txt hello
    outs: [alone.txt]
  keep:
    cmd: python tool.py keep.txt data/a.txt
    deps: [tool.py, data/a.txt]
    outs: [{keep.txt: {persist: true}}]
  frozen:
    cmd: python tool.py frozen.txt data/a.txt
    frozen: true
    deps: [tool.py, data/a.txt]
    outs: [frozen.txt]
"""
INNER = """
stages:
  inner:
    cmd: python ../tool.py inner.txt ../data/a.txt
    deps: [../tool.py, ../data/a.txt]
    outs: [inner.txt]
"""
IGNORED = "/data\n/*.txt\n/copied.py\n/sub/*.txt\n/sub/w/*.txt\n/rawdir\n/raw.csv\n/broken\n"


def environment(root: Path) -> dict[str, str]:
    """Return the environment of the project's commands."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("DVC_", "GIT_", "COV_", "TRAINLAB_"))
    }
    return {
        **kept,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}",
        "DVC_NO_ANALYTICS": "1",
        "DVC_SITE_CACHE_DIR": str(root.parent / "site"),
        "GIT_CONFIG_GLOBAL": os.devnull,
    }


def run(root: Path, *command: str) -> str:
    """Run a command in the project; it must exit with 0."""
    done = subprocess.run(command, cwd=root, env=environment(root), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def create(root: Path) -> Path:
    """Make the project, with nothing reproduced."""
    files = {
        "tool.py": TOOL,
        "dvc.yaml": PIPELINE,
        "sub/dvc.yaml": INNER,
        "params.yaml": "k: 3\nprepare: {lr: 0.1}\nitems: [a, b, c, d]\n",
        ".gitignore": IGNORED,
        "raw.csv": "a,b\n1,2\n",
        "rawdir/0.txt": "raw\n",
        "frozen.txt": "as it is\n",
        "sub/w/.gitkeep": "",
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    run(root, "git", "init", "-q", "-b", "main")
    run(root, "dvc", "init", "-q")
    run(root, "dvc", "config", "core.autostage", "false")
    run(root, "dvc", "add", "-q", "raw.csv", "rawdir")
    run(
        root,
        "git",
        "-c",
        "user.name=n",
        "-c",
        "user.email=e@example.org",
        "commit",
        "-qm",
        "the project",
        "--allow-empty",
    )
    return root


def copy(project: Path, directory: Path) -> Path:
    """Return a copy under the name that the project has, because DVC's cache of a workspace has absolute paths."""
    shutil.copytree(project, directory / "project", symlinks=True)
    shutil.rmtree(directory / "project/.dvc/tmp", ignore_errors=True)
    return directory / "project"


def content(root: Path) -> dict[str, str]:
    """Return a digest of every file of the project and of DVC's cache, the run cache included."""
    found = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if path.is_file() and not name.startswith((".git/", "site/")) and ".dvc/tmp/" not in name:
            found[name] = hashlib.md5(path.read_bytes()).hexdigest()
    return found
