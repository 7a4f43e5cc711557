from relsplit.pictures.overlay import light_overlay as light_overlay
from relsplit.pictures.overlay import overlay as overlay
