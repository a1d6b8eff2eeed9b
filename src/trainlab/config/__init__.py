"""The configuration of every run: read params.yaml, check it, and resolve it into one configuration per run.

The names below are imported on first use: the schema imports torch, which the stages ``download`` and ``normalize`` do
without.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trainlab.config.data import load_data
    from trainlab.config.runs import (
        find,
        from_dict,
        load,
        load_checks,
        load_params,
        resolve,
        resolve_checks,
        resolve_suites,
        save_all,
    )
    from trainlab.config.schema import CheckConfig, CheckName, RunConfig, SuiteConfig

__all__ = [
    "CheckConfig",
    "CheckName",
    "RunConfig",
    "SuiteConfig",
    "find",
    "from_dict",
    "load",
    "load_checks",
    "load_data",
    "load_params",
    "resolve",
    "resolve_checks",
    "resolve_suites",
    "save_all",
]

if not TYPE_CHECKING:  # a type checker would accept any name otherwise

    def __getattr__(name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        home = "data" if name == "load_data" else "runs" if name.islower() else "schema"
        return getattr(importlib.import_module(f"{__name__}.{home}"), name)
