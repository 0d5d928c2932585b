from unfeature.catalogue import Catalogue
from unfeature.inversion.solvers.first_order import AdaGrad as AdaGrad
from unfeature.inversion.solvers.first_order import Adam as Adam
from unfeature.inversion.solvers.first_order import Momentum as Momentum
from unfeature.inversion.solvers.first_order import Solver
from unfeature.inversion.solvers.lbfgs import LBFGS as LBFGS

SOLVERS: Catalogue[type[Solver]]
