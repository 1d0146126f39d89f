"""What a trained network needs to be used: the model file, metrics, evaluation, prediction."""
