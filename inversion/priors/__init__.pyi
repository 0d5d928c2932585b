from unfeature.catalogue import Catalogue
from unfeature.inversion.priors.base import Prior
from unfeature.inversion.priors.bounded_range import BoundedRange as BoundedRange
from unfeature.inversion.priors.small_pixels import SmallContribution as SmallContribution
from unfeature.inversion.priors.small_pixels import SmallNorm as SmallNorm
from unfeature.inversion.priors.variation import HyperLaplacian as HyperLaplacian
from unfeature.inversion.priors.variation import TotalVariation as TotalVariation

PRIORS: Catalogue[type[Prior]]
