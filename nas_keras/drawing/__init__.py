"""Drawings of cells and of image networks. No TensorFlow, no Keras.

cells       a cell: what is shown, and the drawing
convnets    an image network: what is shown, and the drawing
layout      where boxes and wires go
canvas      shapes, colors, and the files: SVG and PNG
"""
