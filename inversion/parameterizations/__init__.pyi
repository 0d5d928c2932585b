from unfeature.catalogue import Catalogue
from unfeature.inversion.parameterizations.base import Parameterization
from unfeature.inversion.parameterizations.deep_prior import DeepPrior as DeepPrior
from unfeature.inversion.parameterizations.fourier import Colours as Colours
from unfeature.inversion.parameterizations.fourier import Fourier as Fourier
from unfeature.inversion.parameterizations.maco import MACO as MACO
from unfeature.inversion.parameterizations.pixels import BoxedPixels as BoxedPixels
from unfeature.inversion.parameterizations.pixels import Pixels as Pixels

PARAMETERIZATIONS: Catalogue[type[Parameterization]]
