"""Attribution maps as pictures."""
