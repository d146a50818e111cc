"""What Slicer has and the package slicer-core lacks, as little of it as the panel needs.

The scene, its nodes, the module logics and ``slicer.util`` are Slicer's own, from slicer-core.
Stood in are Qt as PythonQt shows it (python_qt), Slicer's and CTK's widgets (widgets), the
application and the base classes of modules (application), and the parameter node wrapper
(parameter_node_wrapper). Each says which file of Slicer it follows.
"""
