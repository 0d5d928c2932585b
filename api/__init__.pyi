from unfeature import baselines as baselines
from unfeature import features as features
from unfeature.baselines.decoder import Decoder as Decoder
from unfeature.display.pictures import glyph as glyph
from unfeature.display.pictures import sheet as sheet
from unfeature.display.pictures import show as show
from unfeature.display.report import write_report as write_report
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
from unfeature.features.transformer import Transformer as Transformer
from unfeature.features.words.vocabulary import Mixture as Mixture
from unfeature.features.words.vocabulary import Vocabulary as Vocabulary
from unfeature.inversion.caricature import caricature as caricature
from unfeature.inversion.engine import Progress as Progress
from unfeature.inversion.invert import invert as invert
from unfeature.inversion.maximize import maximize as maximize
from unfeature.inversion.near import Near as Near
from unfeature.inversion.recipes import Recipe as Recipe
from unfeature.inversion.recipes import Stage as Stage
from unfeature.inversion.result import Result as Result
from unfeature.inversion.texture import style_transfer as style_transfer
from unfeature.inversion.texture import synthesize as synthesize
from unfeature.io.images import bundled as bundled
from unfeature.io.images import read_image as read_image
from unfeature.io.images import resize_longer as resize_longer
from unfeature.io.images import to_grey as to_grey
from unfeature.io.similarity import measures as measures

__version__: str
