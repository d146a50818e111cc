"""MISSUCore: brain-tumor segmentation in multimodal MRI with a self-distilling TransUNet.

Importing this package is cheap: torch is only imported by the submodules that compute.
"""

__version__ = "0.1.0"
