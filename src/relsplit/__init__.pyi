from relsplit.attribution import heat_quantization as heat_quantization
from relsplit.lrp import LRP as LRP
