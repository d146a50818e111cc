"""Stand-ins for the parts of Slicer that the panel needs and the package slicer-core lacks.

The scene, its nodes, the module logics and ``slicer.util`` are Slicer's own, from slicer-core.
There are stand-ins for Qt as accessed through PythonQt (python_qt), Slicer's and CTK's widgets
(widgets), the application and the base classes of modules (application), and the parameter node
wrapper (parameter_node_wrapper). Each names the Slicer files that it imitates.
"""
