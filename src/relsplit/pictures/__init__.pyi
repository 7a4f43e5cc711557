from relsplit.pictures.ansi import tokens_terminal as tokens_terminal
from relsplit.pictures.detections import boxes as boxes
from relsplit.pictures.html_of_tokens import tokens_html as tokens_html
from relsplit.pictures.overlays import light_overlay as light_overlay
from relsplit.pictures.overlays import overlay as overlay
from relsplit.pictures.volume import slices as slices
from relsplit.pictures.waveforms import waveform as waveform
