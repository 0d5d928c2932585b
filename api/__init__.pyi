from . import baselines as baselines
from .features.base import Representation as Representation
from .images import bundled as bundled
from .images import read_image as read_image
from .images import to_grey as to_grey
from .pictures import glyph as glyph

__version__: str
