from relsplit.attribution import heat_quantization as heat_quantization
from relsplit.explanation import Explanation as Explanation
from relsplit.explanation import explain as explain
from relsplit.lrp import LRP as LRP
from relsplit.version import __version__ as __version__
