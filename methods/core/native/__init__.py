"""Kernels in C++, compiled on the machine that they run on: what torch has no operator for, or a slow one.

`compiled` makes a library of the sources beside it, `choice` says whether they are used here. Importing this loads no
torch. Every one of them has a counterpart in torch, which computes where there is no compiler.
"""
