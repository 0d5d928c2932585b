"""What to say of an error: a sentence, and whose mistake it is."""

from __future__ import annotations

import click


def sentence_about(error: BaseException) -> str | None:
    """What an error says to the user who caused it; None for one that nobody foresaw."""
    if isinstance(error, click.ClickException):
        return error.format_message()
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'a file'}: {error.strerror}"
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and "allocate" in str(error)):
        return "there is not enough memory: take smaller images, or fewer at once"
    return str(error) if isinstance(error, (OSError, ValueError)) else None
