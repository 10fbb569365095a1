"""Every objective of the papers, one file each: a file that is put here is known by its class's `name`."""

import pkgutil
from importlib import import_module
from typing import Annotated, Any

from pydantic import BeforeValidator, SerializeAsAny

from ndogo.compressors.distillation.objective import Objective


def discover() -> dict[str, type[Objective]]:
    """The objectives of this folder's files, by name."""
    found: dict[str, type[Objective]] = {}
    for module in pkgutil.iter_modules(__path__):
        for thing in vars(import_module(f"{__name__}.{module.name}")).values():
            if isinstance(thing, type) and issubclass(thing, Objective) and "name" in vars(thing):
                found[thing.name] = thing
    return found


OBJECTIVES = discover()


def _read(value: Any) -> Any:
    """`{mlm: 0.5, hidden: {weight: 1.0, map: uniform-last}}`: a number is the weight, a table all settings."""
    if not isinstance(value, dict) or not value:
        raise ValueError(
            f"a table of objectives with weights is needed, such as {{mlm: 0.5, logits_mse: 0.5}}; got {value!r}"
        )
    read = {}
    for name, given in value.items():
        if name not in OBJECTIVES:
            raise ValueError(f"unknown objective `{name}`; allowed: {', '.join(OBJECTIVES)}")
        if not isinstance(given, Objective):
            given = OBJECTIVES[name].model_validate(given if isinstance(given, dict) else {"weight": given})
        read[name] = given
    return read


Objectives = Annotated[dict[str, SerializeAsAny[Objective]], BeforeValidator(_read)]
"""Name -> objective, in the recipe's order."""
