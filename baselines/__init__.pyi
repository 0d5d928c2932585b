from unfeature.baselines.base import Baseline
from unfeature.baselines.collage import Collage as Collage
from unfeature.baselines.decoder import Decoder as Decoder
from unfeature.baselines.direct import Direct as Direct
from unfeature.baselines.elda import ELDA as ELDA
from unfeature.baselines.jigsaw import Jigsaw as Jigsaw
from unfeature.baselines.keypoints import Keypoints as Keypoints
from unfeature.baselines.paired_dictionary import PairedDictionary as PairedDictionary
from unfeature.baselines.primal_dual import PrimalDual as PrimalDual
from unfeature.baselines.ridge import Ridge as Ridge
from unfeature.baselines.upconv import Upconv as Upconv
from unfeature.catalogue import Catalogue

METHODS: Catalogue[type[Baseline]]
LEARNED_AS: dict[str, str]

def find(name: str) -> type[Baseline]: ...
