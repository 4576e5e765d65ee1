"""What commands share: messages that name the option, not the argument of the library."""

from __future__ import annotations

import re
from collections.abc import Mapping


def in_options(message: str, options: Mapping[str, str]) -> str:
    """Begin a message with the option rather than with the argument of the library.

    >>> in_options("name='resnett': …", {"name": "--model"})
    "--model='resnett': …"
    """
    message = message.replace("give weights='random'", "give --weights random")
    begun = re.match(r"(\w+)(?=[=:\[])", message)
    if begun is None or begun[1] not in options:
        return message
    return options[begun[1]] + message[begun.end() :]
