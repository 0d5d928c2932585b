"""``python -m unfeature`` is ``unfeature``."""

from .cli import main

main()
