from . import baselines as baselines
from .features.base import Representation as Representation
from .features.hog import HOG as HOG
from .images import bundled as bundled
from .images import read_image as read_image
from .images import to_grey as to_grey
from .inversion.invert import invert as invert
from .inversion.result import Result as Result
from .pictures import glyph as glyph
from .pictures import sheet as sheet
from .report import write_report as write_report

__version__: str
