"""Generate pictures with Stable Diffusion under classifier-free and segmentation-free guidance.

``guidance`` and ``plan`` are plain Python and may be imported where torch is not installed; ``images`` needs Pillow
and numpy; ``trajectory``, ``checkpoint`` and the modules under them need torch and diffusers.
"""

if __name__ == "generation":  # imported by the folder's name, from a checkout
    from evenhand.folders import lead_to_package

    lead_to_package(__name__)
