"""Calls of functions on a Ray cluster."""

import logging
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from trainlab.errors import UserError
from trainlab.scale.retries import RETRIES, Killed, Lost, run_again

LOOK = 0.5  # seconds between two looks at whether a call was given up
RESOURCES = {
    "num_cpus": "CPU",
    "num_gpus": "GPU",
    "memory": "memory",
}  # Ray's options, and its names for what a node has


class Cluster:
    """A connection to a Ray cluster. Its methods may be called by several threads."""

    def __init__(self, ray: Any) -> None:
        self._ray, self._given_up = ray, threading.Event()

    def put(self, value: Any) -> Any:
        """Store a value that each node fetches once; return what :meth:`call` takes in its place."""
        return self._ray.put(value)

    def capacity(self, resources: Mapping[str, Any]) -> int:
        """Return how many calls with these resources fit into the cluster at the same time.

        Parameters
        ----------
        resources
            `num_cpus`, `num_gpus` (fractions are allowed), `memory` in bytes, and `resources`, a mapping of own names.

        Raises
        ------
        UserError
            If no node has them.
        """
        needs = {**resources.get("resources", {}), **{RESOURCES[k]: v for k, v in resources.items() if k in RESOURCES}}
        needs = {name: amount for name, amount in needs.items() if amount}
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        fit = sum(int(min((node.get(name, 0) / need for name, need in needs.items()), default=1)) for node in nodes)
        if not fit:
            words = ", ".join(f"{name} {amount:g}" for name, amount in needs.items())
            raise UserError(f"no node of the cluster has {words}: ask for less, or add a node (`ray status` shows all)")
        return fit

    def call(self, function: Callable[..., Any], *arguments: Any, resources: Mapping[str, Any]) -> Any:
        """Call a function of this package on a node, and wait for its result.

        Parameters
        ----------
        function, *arguments
            What to call. The function must be at the top level of its module.
        resources
            As for :meth:`capacity`.

        Raises
        ------
        UserError
            If no node has the resources, or the call was given up.
        Killed
            If its process was ended; the node is still there.
        Lost
            If the node died.
        """
        errors = self._ray.exceptions
        self.capacity(resources)
        reference = self._ray.remote(function).options(max_retries=0, **resources).remote(*arguments)
        try:
            while not self._ray.wait([reference], timeout=LOOK)[0]:
                if self._given_up.is_set():
                    self._ray.cancel(reference, force=True)
                    raise UserError("the call was given up")
            return self._ray.get(reference)
        except errors.OutOfMemoryError:
            raise Killed("ended by Ray, because the memory of its node was full") from None
        except errors.WorkerCrashedError:
            raise Killed("its process was ended") from None
        except (errors.NodeDiedError, errors.ObjectLostError):
            raise Lost("its node died") from None
        except errors.RayTaskError as error:
            raise error.cause from None

    def give_up(self) -> None:
        """End all calls."""
        self._given_up.set()


@contextmanager
def connected(address: str) -> Iterator[Cluster]:
    """Connect to a cluster, which gets this package, inside the block; end all calls after it.

    Parameters
    ----------
    address
        ``HOST:PORT`` of its head. This process must run on one of its nodes.

    Raises
    ------
    UserError
        If Ray is not installed, or there is no cluster.
    """
    try:
        import ray
    except ModuleNotFoundError:
        raise UserError("--address needs Ray: pip install 'trainlab[cluster]'") from None
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
        package = Path(__file__).parents[1]
        ray.init(
            address=address,
            log_to_driver=False,
            logging_level=logging.ERROR,
            runtime_env={"py_modules": [str(package)], "excludes": ["**/__pycache__"]},
        )
    except ValueError:
        raise UserError(f"--address is {address!r}: it must be HOST:PORT, such as 10.0.0.1:6379") from None
    except (OSError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"no Ray cluster at {address} ({reason}): start one with `ray start --head`, and run this on one of its nodes"
        ) from error
    cluster = Cluster(ray)
    try:
        yield cluster
    finally:
        cluster.give_up()
        with suppress(Exception):
            ray.shutdown()


class Workplace:
    """The trials of a search on a cluster (see :class:`trainlab.search.engine.Workplace`).

    Parameters
    ----------
    cluster
        The cluster.
    data
        The images of the search.
    jobs
        Number of trials that run at the same time; None: as many as fit.
    resources
        What one trial needs, as for :meth:`Cluster.capacity`.
    """

    elsewhere = True

    def __init__(self, cluster: Cluster, data: Any, jobs: int | None, resources: Mapping[str, Any]) -> None:
        self.jobs = jobs or cluster.capacity(resources)
        self._cluster, self._data, self._resources = cluster, cluster.put(data), resources
        self._threads = ThreadPoolExecutor(self.jobs)

    def submit(self, task: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Call ``task(data, *arguments)`` on a node, again if it is ended from outside."""

        def call() -> Any:
            return self._cluster.call(task, self._data, *arguments, resources=self._resources)

        return self._threads.submit(run_again, call, RETRIES, lambda reason: None)
