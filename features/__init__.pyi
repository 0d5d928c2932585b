from unfeature.catalogue import Catalogue
from unfeature.features.base import Representation
from unfeature.features.gradients.dsift import DSIFT as DSIFT
from unfeature.features.gradients.hog import HOG as HOG
from unfeature.features.gradients.phow import PHOW as PHOW
from unfeature.features.networks.cnn import CNN as CNN
from unfeature.features.networks.cnn import Layers as Layers
from unfeature.features.patterns.brief import BRIEF as BRIEF
from unfeature.features.patterns.lbp import LBP as LBP
from unfeature.features.textures.filter_bank import FilterBank as FilterBank
from unfeature.features.textures.portilla_simoncelli import PortillaSimoncelli as PortillaSimoncelli
from unfeature.features.words.bovw import BoVW as BoVW
from unfeature.features.words.fisher import Fisher as Fisher
from unfeature.features.words.scspm import ScSPM as ScSPM
from unfeature.features.words.super_vector import SuperVector as SuperVector
from unfeature.features.words.vlad import VLAD as VLAD

DESCRIPTORS: Catalogue[type[Representation]]
