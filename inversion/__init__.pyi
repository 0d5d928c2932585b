from unfeature.catalogue import Catalogue
from unfeature.inversion.recipes import Preset
from unfeature.inversion.recipes import best as best
from unfeature.inversion.recipes import cvpr2015 as cvpr2015
from unfeature.inversion.recipes import deep_prior as deep_prior
from unfeature.inversion.recipes import fast as fast
from unfeature.inversion.recipes import ijcv2016 as ijcv2016

PRESETS: Catalogue[Preset]
