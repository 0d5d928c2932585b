from unfeature.catalogue import Catalogue
from unfeature.inversion.solvers.base import Solver
from unfeature.inversion.solvers.first_order import AdaDelta as AdaDelta
from unfeature.inversion.solvers.first_order import AdaGrad as AdaGrad
from unfeature.inversion.solvers.first_order import Adam as Adam
from unfeature.inversion.solvers.first_order import Momentum as Momentum
from unfeature.inversion.solvers.lbfgs import LBFGS as LBFGS
from unfeature.inversion.solvers.lbfgsb import LBFGSB as LBFGSB

SOLVERS: Catalogue[type[Solver]]
