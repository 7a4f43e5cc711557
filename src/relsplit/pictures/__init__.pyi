from relsplit.pictures.overlays import light_overlay as light_overlay
from relsplit.pictures.overlays import overlay as overlay
