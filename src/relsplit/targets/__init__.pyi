from relsplit.targets.detection import Detection as Detection
from relsplit.targets.key import Key as Key
from relsplit.targets.likeness import Likeness as Likeness
from relsplit.targets.next_token import NextToken as NextToken
from relsplit.targets.pixels import Pixels as Pixels
from relsplit.targets.value import Value as Value
from relsplit.targets.weighted import Weighted as Weighted
