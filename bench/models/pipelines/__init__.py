"""What runs the parts of a family: conditioning, denoising and decoding, where they are its own. Imports torch.

A module here knows no family; a family of `families/` names the module that runs it, and loads it when it is needed.
"""
