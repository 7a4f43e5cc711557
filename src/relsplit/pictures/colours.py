"""One colour for each method, the same in every picture."""

import zlib

METHODS = {
    "ours": "#0b5fa5",
    "ours_released": "#5aa9e6",
    "relevance_pyramid": "#00897b",
    "measured_pyramid": "#5cbf9a",
    "class_evidence": "#c62828",
    "grad_cam": "#ef7d00",
    "grad_cam_plus_plus": "#b35c00",
    "hires_cam": "#f4b04f",
    "layer_cam": "#8d6e00",
    "score_cam": "#7a4a2b",
    "rise": "#d81b60",
    "lrp_epsilon": "#6a3d9a",
    "integrated_gradients": "#e377c2",
    "guided_backprop": "#33881f",
    "deeplift": "#a3a500",
    "input_x_gradient": "#17becf",
    "smooth_grad": "#9575cd",
    "gradient_pyramid": "#7cb342",
    "class_competition": "#ff6f61",
    "contrastive_lrp": "#ad1457",
    "softmax_gradient_lrp": "#f06292",
    "epsilon_plus_flat": "#283593",
    "epsilon_gamma_box": "#5c6bc0",
    "epsilon_alpha2_beta1_flat": "#9fa8da",
    "c1_lrp": "#006978",
    "lrp_block": "#4a148c",
    "abn": "#827717",
    "abs_lrp": "#00b8a9",
    "attn_lrp": "#ba68c8",
    "cp_lrp": "#8e24aa",
    "attention_rollout": "#c0a16b",
    "transformer_attribution": "#6d4c41",
    "stored": "#546e7a",
}
"""By the explainer's name. Kin have kindred colours: splitting and pyramids blue and green, CAMs orange and brown."""

CONTROLS = {"random": "#9e9e9e", "center": "#6e6e6e", "edges": "#454545", "one_pixel": "#000000"}
"""What knows nothing of the network is grey."""

OTHERS = ("#2e7d32", "#b71c1c", "#1565c0", "#f9a825", "#4527a0", "#00695c")


def colour_of(explainer: str) -> str:
    """Return a method's colour as ``#rrggbb``; a method of the user's own gets one that follows from its name.

    Args:
        explainer: its name, as in ``explainer=``.
    """
    known = METHODS.get(explainer) or CONTROLS.get(explainer)
    return known or OTHERS[zlib.crc32(explainer.encode()) % len(OTHERS)]
