from unfeature.benchmarks.study import Study
from unfeature.benchmarks.tables.caricatures import Caricatures as Caricatures
from unfeature.benchmarks.tables.cnn import Cnn as Cnn
from unfeature.benchmarks.tables.cvpr2015 import Cvpr2015 as Cvpr2015
from unfeature.benchmarks.tables.descriptors import Descriptors as Descriptors
from unfeature.benchmarks.tables.groups import Groups as Groups
from unfeature.benchmarks.tables.hoggles import Hoggles as Hoggles
from unfeature.benchmarks.tables.ijcv2016 import Ijcv2016 as Ijcv2016
from unfeature.benchmarks.tables.mosaics import Mosaics as Mosaics
from unfeature.benchmarks.tables.regularizers import Regularizers as Regularizers
from unfeature.benchmarks.tables.speed import Speed as Speed
from unfeature.benchmarks.tables.starts import Starts as Starts
from unfeature.benchmarks.tables.templates import Templates as Templates
from unfeature.catalogue import Catalogue

TABLES: Catalogue[type[Study]]
