"""Who a device was when it was first seen: after a reconnection another one may answer at the same address."""

from typing import Any

from drivers.errors import WrongDevice


class Identity:
    """Remembers who a device was at its first connection, and refuses another one in its place."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._known: dict[str, Any] = {}

    def check(self, **facts: Any) -> None:
        """Compare `facts` with those of the first connection; None is "not told" and fits everything.

        Raises
        ------
        WrongDevice
            One of them differs.
        """
        for name, value in facts.items():
            known = self._known.get(name)
            if value is not None and known is not None and value != known:
                detail = f"its {name.replace('_', ' ')} is {value!r}, it was {known!r}: another device answers here"
                raise WrongDevice(device=self._label, detail=detail)
        self._known.update({name: value for name, value in facts.items() if value is not None})

    def known(self, name: str) -> Any:
        """Return a fact of the first connection, None where it was not told."""
        return self._known.get(name)
