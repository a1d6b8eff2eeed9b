"""Start `python` and `dvc` as copies of a process that has imported torch and DVC: in 0.1 seconds instead of 2.

The server imports the libraries and waits. The commands in :func:`directory` are clients that ask it for a copy of itself,
which runs their program with their arguments, working directory, environment and standard streams. The program imports
trainlab and everything else as usual.

Four differences to a new interpreter: variables that are read when Python or torch start (``PYTHON*``, ``OMP_*``) have no
effect, all copies hash strings alike, signals do not reach the program, and DVC parses each text of YAML only once. Tests
that depend on one of these, or on what a program imports, start ``sys.executable``.
"""

import atexit
import fcntl
import gc
import hashlib
import importlib
import marshal
import os
import pickle
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

BIN = Path(sys.executable).parent
SIZE = 1 << 20  # bytes of a request, at most
LIBRARIES = """
    torch torchvision.datasets numpy pandas scipy.stats joblib loky safetensors.torch PIL.ImageOps ruamel.yaml requests
    annotated_types pydantic.fields pydantic.types rich.progress typer optuna sqlalchemy.orm
    matplotlib.figure matplotlib.backends.backend_agg
    dvc.cli.parser dvc.data_cloud dvc.repo.artifacts dvc.repo.datasets dvc.repo.experiments.queue.celery dvc.repo.graph
    dvc.repo.index dvc.repo.open_repo dvc.repo.plots dvc.repo.reproduce dvc.repo.stage dvc.repo.trie dvc.stage.run
    dvc.ui.table dvc.utils.strictyaml dvc_data.hashfile.db.local dvc_data.index.checkout dvc_render.vega
    dulwich.ignore dulwich.worktree flatten_dict fsspec.implementations.memory networkx platformdirs.unix shortuuid wcwidth
    xml.etree.ElementTree
"""
CLIENT = """#!{python} -IS
import marshal, os, socket, sys
arguments = {arguments} + sys.argv[1:]
if arguments[0].startswith("-"):
    os.execv({python!r}, [{python!r}, *arguments])
with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as server:
    server.connect({address!r})
    socket.send_fds(server, [marshal.dumps((arguments, os.getcwd(), dict(os.environ)))], [0, 1, 2])
    code = server.recv(1)
sys.exit(code[0] if code else 128 + 9)
"""


@cache
def directory() -> Path:
    """Return a directory with the commands `python` and `dvc`; the server starts with the first call."""
    if sys.platform != "linux":
        return BIN
    place = tempfile.TemporaryDirectory(prefix="forked-")
    atexit.register(place.cleanup)
    address = f"{place.name}/socket"
    for name, arguments in (("python", []), ("dvc", [str(BIN / "dvc")])):
        command = Path(place.name) / name
        command.write_text(CLIENT.format(python=sys.executable, arguments=arguments, address=address))
        command.chmod(0o755)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(address)
        listener.listen()
        server = subprocess.Popen(
            [sys.executable, __file__, str(listener.fileno()), str(os.getpid()), place.name],
            env={**kept, "OMP_NUM_THREADS": "1"},  # no other thread, which a copy would lack
            pass_fds=[listener.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
        )
    assert server.stdout
    with server.stdout:
        assert server.stdout.read(1), "the server failed"  # wait for its imports: a test has a time limit
    atexit.register(server.wait)
    atexit.register(server.kill)
    return Path(place.name)


def python() -> str:
    """Return the path of the command `python`, for scripts."""
    return str(directory() / "python")


def serve(listener: socket.socket, parent: int, place: Path) -> None:
    """Answer requests until the parent process has ended."""
    for name in LIBRARIES.split():
        with suppress(ModuleNotFoundError):  # of another version of DVC, say
            importlib.import_module(name)
    remember_yaml(place)
    gc.freeze()
    assert threading.active_count() == 1
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # no copy remains as a zombie
    os.write(1, b"!")
    listener.settimeout(1)
    while os.getppid() == parent:
        try:
            connection, _ = listener.accept()
        except TimeoutError:
            continue
        if os.fork() == 0:
            listener.close()
            answer(connection)
        connection.close()


def remember_yaml(place: Path) -> None:
    """Let DVC parse each text of YAML once, for all copies: its parser took a third of a command's time."""
    from dvc.utils import serialize, strictyaml

    parse = serialize.parse_yaml

    def remembered(text: str, path: str, typ: str = "safe") -> Any:
        if typ != "safe":
            return parse(text, path, typ)
        file = place / f"{hashlib.sha256(text.encode()).hexdigest()}.yaml"
        if file.exists():
            return pickle.loads(file.read_bytes())
        parsed = parse(text, path)
        with suppress(OSError):  # the tests have ended
            own = file.with_suffix(f".{os.getpid()}")
            own.write_bytes(pickle.dumps(parsed))
            own.rename(file)
        return parsed

    for module in (serialize, serialize._yaml, strictyaml):
        module.parse_yaml = remembered


def answer(connection: socket.socket) -> NoReturn:
    """Run the program of a client, and send its exit status."""
    connection.setblocking(True)
    request, streams, _, _ = socket.recv_fds(connection, SIZE, 3)
    # SIGIO ends this process if the client is killed.
    fcntl.fcntl(connection, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(connection, fcntl.F_SETFL, os.O_ASYNC)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    code = run(*marshal.loads(request))
    threading._shutdown()  # type: ignore[attr-defined]  # waits for threads, as the end of Python does
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    connection.send(bytes([code]))
    os._exit(code)


def run(arguments: list[str], workspace: str, environment: dict[str, str]) -> int:
    """Run a script as `python SCRIPT ARGUMENTS` does, and return its exit status."""
    os.chdir(workspace)
    os.environ.clear()
    os.environ.update(environment)
    sys.dont_write_bytecode = "PYTHONDONTWRITEBYTECODE" in environment
    sys.argv = arguments
    sys.path[0] = os.path.dirname(os.path.realpath(arguments[0]))
    try:
        runpy.run_path(os.path.abspath(arguments[0]), run_name="__main__")
    except SystemExit as stop:
        if isinstance(stop.code, str):
            print(stop.code, file=sys.stderr)
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2]), Path(sys.argv[3]))
