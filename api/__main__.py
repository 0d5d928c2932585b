"""``python -m unfeature`` is ``unfeature``."""

from unfeature.cli import main

main()
