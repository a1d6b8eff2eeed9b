"""params.yaml: its schema, how three levels become one configuration per run, and how mistakes are reported."""

from trainlab.config.schema import (
    CheckConfig,
    CheckName,
    RunConfig,
    find,
    from_dict,
    load,
    load_checks,
    load_data,
    load_params,
    resolve,
    resolve_checks,
    save_all,
)

__all__ = [
    "CheckConfig",
    "CheckName",
    "RunConfig",
    "find",
    "from_dict",
    "load",
    "load_checks",
    "load_data",
    "load_params",
    "resolve",
    "resolve_checks",
    "save_all",
]
