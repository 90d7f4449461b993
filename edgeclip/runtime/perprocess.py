"""What a process must open for itself: an engine's session survives neither a pickle nor a fork."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Generic, TypeVar, overload

T = TypeVar("T")
PREFIX = "_opened_"


class PerProcess(Generic[T]):
    """A ``cached_property`` of the process that asks: each one makes its own value, the first time it asks.

    What a forked child inherits is kept and never used: to throw it away would join threads that it has not got.
    """

    def __init__(self, make: Callable[[Any], T]) -> None:
        self._make, self.__doc__ = make, make.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._slot = PREFIX + name

    @overload
    def __get__(self, instance: None, owner: type) -> PerProcess[T]: ...
    @overload
    def __get__(self, instance: object, owner: type) -> T: ...
    def __get__(self, instance: object | None, owner: type) -> PerProcess[T] | T:
        if instance is None:
            return self
        opened = instance.__dict__.setdefault(self._slot, {})
        process = os.getpid()
        if process not in opened:
            opened[process] = self._make(instance)
        value: T = opened[process]
        return value


def without_opened(instance: object) -> dict[str, Any]:
    """An object's state for a pickle: whoever unpickles it opens its own."""
    return {name: value for name, value in instance.__dict__.items() if not name.startswith(PREFIX)}
