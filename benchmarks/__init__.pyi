from unfeature.benchmarks.study import Study
from unfeature.benchmarks.tables.cnn import Cnn as Cnn
from unfeature.benchmarks.tables.groups import Groups as Groups
from unfeature.benchmarks.tables.hog import Hog as Hog
from unfeature.benchmarks.tables.regularizers import Regularizers as Regularizers
from unfeature.benchmarks.tables.speed import Speed as Speed
from unfeature.benchmarks.tables.starts import Starts as Starts
from unfeature.benchmarks.tables.templates import Templates as Templates
from unfeature.catalogue import Catalogue

TABLES: Catalogue[type[Study]]
