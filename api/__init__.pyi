from . import baselines as baselines
from .features.base import Representation as Representation
from .features.bovw import BoVW as BoVW
from .features.brief import BRIEF as BRIEF
from .features.cnn import CNN as CNN
from .features.dsift import DSIFT as DSIFT
from .features.encodings import VLAD as VLAD
from .features.encodings import Fisher as Fisher
from .features.encodings import SuperVector as SuperVector
from .features.hog import HOG as HOG
from .features.lbp import LBP as LBP
from .features.phow import PHOW as PHOW
from .features.vocabulary import Mixture as Mixture
from .features.vocabulary import Vocabulary as Vocabulary
from .images import bundled as bundled
from .images import read_image as read_image
from .images import to_grey as to_grey
from .inversion.invert import invert as invert
from .inversion.result import Result as Result
from .pictures import glyph as glyph
from .pictures import sheet as sheet
from .report import write_report as write_report

__version__: str
