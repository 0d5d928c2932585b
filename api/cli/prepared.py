"""What processes that work on photographs need, imported for all of them at once; Ctrl-C is not for them."""

import os
import signal
from contextlib import suppress
from importlib import import_module

signal.signal(signal.SIGINT, signal.SIG_IGN)
starter = os.getppid()
for name in ("numpy", "torch", "unfeature.cli.invert", "unfeature.features.base", "unfeature.features.gradients.hog",
             "PIL.Image", "PIL.JpegImagePlugin", "zarr"):
    with suppress(ModuleNotFoundError):
        import_module(name)
    if os.getppid() != starter:  # which has ended: nobody waits for the rest
        os._exit(1)
