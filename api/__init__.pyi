from unfeature import baselines as baselines
from unfeature import features as features
from unfeature.baselines.decoder import Decoder as Decoder
from unfeature.features import *
from unfeature.features.backend import backend as backend
from unfeature.features.base import Representation as Representation
from unfeature.features.channel_statistics import Statistics as Statistics
from unfeature.features.channel_statistics import statistics as statistics
from unfeature.features.masks import centre_mask as centre_mask
from unfeature.features.masks import channel_mask as channel_mask
from unfeature.features.masks import group_mask as group_mask
from unfeature.features.networks.layer_stack import LayerStack as LayerStack
from unfeature.features.networks.preprocessing import Preprocessing as Preprocessing
from unfeature.features.words.vocabulary import Mixture as Mixture
from unfeature.features.words.vocabulary import Vocabulary as Vocabulary
from unfeature.inversion.adversarial import adversarial as adversarial
from unfeature.inversion.caricature import caricature as caricature
from unfeature.inversion.invert import invert as invert
from unfeature.inversion.maximize import maximize as maximize
from unfeature.inversion.measures import Normaliser as Normaliser
from unfeature.inversion.measures import euclidean as euclidean
from unfeature.inversion.measures import relative as relative
from unfeature.inversion.measures import squared as squared
from unfeature.inversion.metamer import metamer as metamer
from unfeature.inversion.near import Near as Near
from unfeature.inversion.result import Result as Result
from unfeature.inversion.texture import style_transfer as style_transfer
from unfeature.inversion.texture import synthesize as synthesize
from unfeature.io.images import bundled as bundled
from unfeature.io.images import read_image as read_image
from unfeature.io.images import to_grey as to_grey
from unfeature.show.pictures import glyph as glyph
from unfeature.show.pictures import sheet as sheet
from unfeature.show.report import write_report as write_report

__version__: str
