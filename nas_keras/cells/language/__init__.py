"""What a recurrent cell is: its equations. No TensorFlow, no Keras."""
