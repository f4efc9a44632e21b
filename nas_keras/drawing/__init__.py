"""Pictures of cells and of image networks. No TensorFlow, no Keras."""
